// The details of one run in a dialog; the open run is part of the link.
function setUpRuns() {
  for (const button of document.querySelectorAll(".run-link")) button.addEventListener("click", () => openRun(button.dataset.run));
  find("run").addEventListener("close", () => remember("run", ""));
  const id = remembered("run", "");
  if (id) openRun(id);
}

function openRun(id) {
  const run = DATA.runs.find((r) => r.id === id);
  if (!run) return;
  const plot = make("div", { class: "chart short", role: "group", "aria-label": "Training loss and test curve of this run" });
  find("run-body").replaceChildren(
    make("button", { type: "button", class: "plain close", "aria-label": "Close", on: { click: () => find("run").close() } }, "×"),
    make("h2", { id: "run-title" }, `${DATA.rows[run.r].name} on ${run.label}, seed ${run.seed}`),
    plot, ...runWarnings(run), runFacts(run), ...runMetrics(run), ...runDiagnostics(run), ...runAttacks(run),
    make("h3", {}, "Commands"), make("pre", { tabindex: 0 }, run.command),
    ...runJson("Specification", whole(run.spec)), ...runJson("Environment", whole(run.environment)),
  );
  document.querySelectorAll("#run-body table").forEach(setUpTable);
  find("run").showModal();
  find("run").scrollTop = 0;
  remember("run", id);
  drawRun(plot, run);
}

// values that runs share are stored once; a run refers to them by index
function whole(part) {
  return part && typeof part === "object" ? Object.fromEntries(Object.entries(part).map(([name, place]) => [name, DATA.shared[place]])) : part;
}

function runFacts(run) {
  return make("dl", { class: "facts" }, ...Object.entries(whole(run.facts)).map(([name, value]) =>
    make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, typeof value === "number" ? (Number.isInteger(value) ? value.toLocaleString("en") : value) : String(value)))));
}

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
  const lines = finals.map(([split, kind, condition, metric, , value, n, stderr]) => [metric, split, kind === "clean" ? "clean" : `${kind}: ${condition}`, value, stderr, n]);
  return [make("h3", {}, "Final measurements"), makeTable("t-run-metrics", "measurements", columns, lines)];
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

function drawRun(node, run) {
  const metric = mainMetric(run);
  const points = new Map(measured(run).filter((m) => m[1] === "clean" && m[0] === "test" && m[3] === metric).map((m) => [m[4], m[5]]));
  const traces = [];
  if (run.steps.x) traces.push({ x: run.steps.x, y: run.steps.loss, mode: "lines", line: { color: faded(colourOf(run.r), 0.5), width: 1.2 }, yaxis: "y2", name: "training loss", hovertemplate: "loss %{y:.3~f}<extra></extra>" });
  if (points.size) traces.push({ x: [...points.keys()], y: [...points.values()], mode: "lines+markers", line: { color: colourOf(run.r), width: 2 }, name: plotText(`test ${metric}`), hovertemplate: `${plotText(metric)} %{y:.3~f}<extra></extra>` });
  drawPlot(node, traces, { xaxis: { title: { text: "forward passes" } }, yaxis: { title: { text: plotText(metric) } }, yaxis2: { overlaying: "y", side: "right", title: { text: "training loss" }, showgrid: false, automargin: true, tickmode: "auto" },
    showlegend: true, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 11 } }, margin: { l: 56, r: 60, t: 32, b: 44 } });
}
