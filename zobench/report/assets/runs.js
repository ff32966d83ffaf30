// The details of one run in a dialog; the open run is part of the link.
function setUpRuns() {
  for (const button of document.querySelectorAll(".run-link")) button.addEventListener("click", () => openRun(button.dataset.run));
  find("run").addEventListener("close", () => { remember("run", ""); remember("beside", ""); });
  const id = remembered("run", "");
  if (id) openRun(id, remembered("beside", ""));
}

function openRun(id, beside = "") {
  const run = DATA.runs.find((r) => r.id === id), other = DATA.runs.find((r) => r.id === beside && beside !== id);
  if (!run) return;
  const plot = make("div", { class: "chart short", role: "group", "aria-label": "Training loss and test curve of this run" });
  const alone = [plot, ...runWarnings(run), runFacts(run), ...runMetrics(run), ...runDiagnostics(run), ...runAttacks(run),
    make("h3", {}, "Commands"), make("pre", { tabindex: 0 }, run.command), ...runJson("Specification", whole(run.spec)), ...runJson("Environment", whole(run.environment))];
  find("run-body").replaceChildren(
    make("button", { type: "button", class: "plain close", "aria-label": "Close", on: { click: () => find("run").close() } }, "×"),
    make("h2", { id: "run-title" }, runName(run)), besideChoice(run, other), ...(other ? comparedRuns(run, other, plot) : alone),
  );
  document.querySelectorAll("#run-body table").forEach(setUpTable);
  if (!find("run").open) find("run").showModal();
  find("run").scrollTop = 0;
  remember("run", id);
  remember("beside", other ? other.id : "");
  drawRun(plot, run, other);
}

// choose another run to see both side by side
function besideChoice(run, other) {
  const select = make("select", { id: "run-beside" });
  const others = DATA.runs.filter((r) => r.id !== run.id).sort((a, b) => (b.label === run.label) - (a.label === run.label));
  choose(select, ["no other run", ...others.map(runName)], ["", ...others.map((r) => r.id)]);
  select.value = other ? other.id : "";
  select.addEventListener("input", () => openRun(run.id, select.value));
  return make("div", { class: "controls" }, make("label", {}, "Beside ", select));
}

// values that runs share are stored once; a run refers to them by index
function whole(part) {
  return part && typeof part === "object" ? Object.fromEntries(Object.entries(part).map(([name, place]) => [name, DATA.shared[place]])) : part;
}

function runFacts(run) {
  return make("dl", { class: "facts" }, ...Object.entries(whole(run.facts)).map(([name, value]) =>
    make("div", {}, make("dt", {}, factName(name)), make("dd", {}, value))));
}

function factName(name) { return name.replace("_bytes", "").replaceAll("_", " "); }

// records from columns stored as { of: distinct values, at: index of each record's value, if there are several }
function measured(run) {
  const long = run.metrics.find((column) => column.at);
  const rows = long ? long.at.map((_, i) => i) : run.metrics.length ? [0] : [];
  return rows.map((i) => run.metrics.map((column) => column.of[column.at ? column.at[i] : 0]));
}

function runMetrics(run) {
  const finals = measured(run).filter((m) => m[8]);
  if (!finals.length) return [];
  const columns = ["Metric", "Split", "Condition", "Value", "Standard error", "n"].map((name, i) => ({ name, num: i > 2 }));
  const lines = finals.map(([split, kind, condition, metric, , value, n, stderr]) => [metric, split, kind === "clean" ? "clean" : `${kind}: ${condition}`, measuredCell(metric, value), measuredCell(metric, stderr), n]);
  return [make("h3", {}, "Final measurements"), makeTable("t-run-metrics", "measurements", columns, lines)];
}

// a measured number as it is shown: shares in percent with one digit, their differences (signed) in points, other numbers with four
function measuredCell(metric, value, signed = false) {
  if (value === null || value === undefined) return null;
  const percent = (DATA.metrics[metric] || {}).percent, size = Math.abs(percent ? 100 * value : value);
  const text = percent ? fixed(size, 1) + (signed ? " points" : " %") : Number.isInteger(size) ? size.toLocaleString("en") : String(Number(size.toPrecision(4)));
  return { text: (value < 0 ? "−" : signed && value > 0 ? "+" : "") + text, sort: value };
}

function runWarnings(run) {
  if (!run.warnings.length) return [];
  return [make("h3", {}, "Warnings"), make("ul", {}, ...run.warnings.map((line) => make("li", {}, line)))];
}

function runDiagnostics(run) {
  if (!run.diagnostics.length) return [];
  const columns = ["Metric", "Diagnostic", "Readings", "First", "Last", "Mean"].map((name, i) => ({ name, num: i > 1 }));
  const lines = run.diagnostics.map(([condition, metric, ...numbers]) => [metric, condition, ...numbers]);
  return [make("h3", {}, "Diagnostics"), makeTable("t-run-diagnostics", "diagnostics", columns, lines)];
}

function runAttacks(run) {
  if (!run.attacks.length) return [];
  const items = run.attacks.map((a) => make("li", {}, make("p", { class: "edit" }, ...a.parts.map(([kind, text]) => (kind === "same" ? text : make(kind, {}, text)))),
    make("p", { class: "small dim" }, `${a.condition} · ${a.clean_output} → ${a.final_output} · ${a.queries} queries · example ${a.example_id}`)));
  return [make("h3", {}, "Worst edits"), make("ol", { class: "edits" }, ...items)];
}

function runJson(title, value) {
  return value ? [make("h3", {}, title), make("pre", { tabindex: 0 }, JSON.stringify(value, null, 1))] : [];
}

// accuracy, exact match or F1 if measured, else the test metric with the longest curve
function mainMetric(run) {
  const names = measured(run).filter((m) => m[1] === "clean" && m[0] === "test").map((m) => m[3]);
  const long = (name) => names.filter((n) => n === name).length;
  return names.find((n) => /accuracy|^em$|f1/.test(n)) || [...new Set(names)].sort((a, b) => long(b) - long(a))[0] || "";
}

function drawRun(node, run, other) {
  const metric = mainMetric(run), share = (DATA.metrics[metric] || {}).share;
  const traces = [run, ...(other ? [other] : [])].flatMap((r, i) => {
    const points = new Map(measured(r).filter((m) => m[1] === "clean" && m[0] === "test" && m[3] === metric).map((m) => [m[4], share ? 100 * m[5] : m[5]]));
    const about = other ? ` (${runName(r)})` : "", dash = i ? "dash" : "solid";
    const colour = i && other.r === run.r ? colourInk() : colourOf(r.r);
    const loss = r.steps.loss ? [{ x: stepsOf(r.steps), y: r.steps.loss, mode: "lines", line: { color: faded(colour, 0.5), width: 1.2, dash }, yaxis: "y2", name: plotText("training loss" + about), hovertemplate: "loss %{y:.3~r}<extra></extra>" }] : [];
    return points.size ? [...loss, { x: [...points.keys()], y: [...points.values()], mode: "lines+markers", line: { color: colour, width: 2, dash }, name: plotText(`test ${metric}${about}`), hovertemplate: `${plotText(metric)} ${hoverOf(share)}<extra></extra>` }] : loss;
  });
  drawPlot(node, traces, { xaxis: { title: { text: "forward passes" } }, yaxis: { title: { text: plotText(metric) + (share ? ", %" : "") } }, yaxis2: { overlaying: "y", side: "right", title: { text: "training loss" }, showgrid: false, automargin: true, tickmode: "auto" },
    showlegend: true, margin: { r: 60, b: 44 } });
}

// forward passes of the points of a loss curve: stored as first value and distances if these are regular
function stepsOf(steps) { return Array.isArray(steps.x) ? steps.x : Array.from({ length: steps.loss.length }, (_, i) => steps.x.from + i * steps.x.by); }
