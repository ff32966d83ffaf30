// Two rows or two runs side by side: settings that differ, curves, measurements, examples that changed.
// a pair of settings as it is read: numbers of four digits, digests and commits of ten, unless the two are then the same
function briefly(text) {
  if (typeof text !== "string") return text;
  return text.replace(/\b[0-9a-f]{32,}\b/g, (hash) => `${hash.slice(0, 10)}…`).replace(/(?<![\w.])\d+\.\d{4,}(e[-+]?\d+)?(?![\w.])/gi, (number) => String(Number(Number(number).toPrecision(4))));
}

function briefPair([name, a, b]) {
  const [x, y] = [briefly(a), briefly(b)];
  return x === y ? [name, a, b] : [name, { text: x, title: a }, { text: y, title: b }];
}

function showSettings(a, b) {
  const { paths, values, rows } = DATA.settings;
  const value = (row, i) => (rows[row][i] < 0 ? null : values[rows[row][i]]);
  const lines = paths.flatMap((path, i) => (rows[a][i] === rows[b][i] ? [] : [[path, value(a, i), value(b, i)]]));
  const place = find("h-settings");
  place.replaceChildren(make("h3", {}, "Settings that differ"));
  if (a === b || !lines.length) {
    place.append(make("p", { class: "small" }, a === b ? "Choose two different rows." : "The recorded settings of the two rows are the same."));
    return;
  }
  place.append(makeTable("t-settings", "settings", [{ name: "Setting" }, { name: "This" }, { name: "Other" }], lines.map(briefPair)));
  setUpTable(find("t-settings"));
}

// curves of the two rows, of the task and metric chosen in the section Curves
function drawPairCurves() {
  if (!CURVE.whats.length) { drawPlot(find("h-curves"), [], {}, NO_CURVES); return; }
  const percent = isShare(CURVE.what), scale = percent ? 100 : 1;
  const [a, b] = headPair();
  const traces = [...new Set([a, b])].flatMap((row) => {
    const c = rowCurve(row, 0);
    if (!c || c.y.length < 2 || Math.max(...c.x) === 0) return [];
    const band = c.y.map((v, j) => (c.h[j] === null ? [v, v] : ends(CURVE.what, v, c.h[j])).map((e) => e * scale));
    const colour = colourOf(row);
    return [{ x: [...c.x, ...[...c.x].reverse()], y: [...band.map((p) => p[1]), ...band.map((p) => p[0]).reverse()], fill: "toself", fillcolor: faded(colour, 0.13), line: { width: 0 }, hoverinfo: "skip", mode: "lines", showlegend: false },
      { x: c.x, y: c.y.map((v) => v * scale), mode: "lines+markers", line: { color: colour, width: 2, dash: row === a ? "solid" : "dash" }, marker: { size: 5 }, name: plotText(DATA.rows[row].name), hovertemplate: `%{fullData.name}: ${hoverOf(percent)}<br>%{x:,.4~r} forward passes<extra></extra>` }];
  });
  drawPlot(find("h-curves"), traces, {
    showlegend: true,
    xaxis: { title: { text: "forward passes" } }, yaxis: { title: { text: plotText(whatLabel(CURVE.what)) + (percent ? ", %" : "") } },
  }, `Neither of the two rows has a curve of ${whatLabel(CURVE.what)}.`);
}

// values of two records by path, nested objects flattened
function leaves(value, path = "") {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [[path, value === null ? null : typeof value === "string" ? value : JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, part]) => leaves(part, path ? `${path} · ${key}` : key));
}

function differingLines(a, b) {
  const [x, y] = [new Map(leaves(a || {})), new Map(leaves(b || {}))];
  return [...new Set([...x.keys(), ...y.keys()])].filter((k) => k && (x.get(k) ?? null) !== (y.get(k) ?? null)).map((k) => [k, x.get(k) ?? null, y.get(k) ?? null]);
}

function runName(run) { return `${DATA.rows[run.r].name} on ${run.label}, seed ${run.seed}`; }

// facts of a run that the settings beside them tell as well
const IN_SETTINGS = new Set(["method", "method_params"]);

// the parts of a run's dialog when another run is chosen beside it
function comparedRuns(run, other, plot) {
  const settings = differingLines({ ...whole(run.spec) }, { ...whole(other.spec) }).map(briefPair);
  const facts = differingLines(whole(run.facts), whole(other.facts)).filter(([fact]) => !IN_SETTINGS.has(fact)).map(([fact, ...both]) => briefPair([factName(fact), ...both]));
  const key = (m) => [m[0], m[1], m[2], m[3]].join("\0");
  const theirs = new Map(measured(other).filter((m) => m[8]).map((m) => [key(m), m[5]]));
  const finals = measured(run).filter((m) => m[8] && theirs.has(key(m))).map((m) => {
    const [mine, yours] = [m[5], theirs.get(key(m))];
    const d = mine === null || yours === null ? null : mine - yours;
    return [m[3], m[1] === "clean" ? m[0] : `${m[1]}: ${m[2]}`, measuredCell(m[3], mine), measuredCell(m[3], yours), measuredCell(m[3], d, true)];
  });
  const table = (title, id, columns, lines) => (lines.length ? [make("h3", {}, title), makeTable(id, title.toLowerCase(), columns, lines)] : [make("h3", {}, title), make("p", { class: "small" }, "None.")]);
  const sides = [{ name: "This" }, { name: "Other" }];
  return [plot, ...table("Settings that differ", "t-run-settings", [{ name: "Setting" }, ...sides], settings), ...table("Facts that differ", "t-run-facts", [{ name: "Fact" }, ...sides], facts),
    ...table("Measurements of both", "t-run-both", [{ name: "Metric" }, { name: "Condition" }, ...["This", "Other", "Difference"].map((name) => ({ name, num: true }))], finals),
    ...table("Examples with another answer", "t-run-changed", [{ name: "Example" }, { name: "Prompt" }, { name: "Gold" }, ...sides], changedAnswers(run, other))];
}

// examples that both runs answered, differently
function changedAnswers(run, other) {
  if (run.label !== other.label) return [];
  const block = DATA.examples.find((k) => DATA.blocks[k.b] === run.label);
  const answers = (r) => new Map(block.examples.flatMap(([id, seed], i) => (seed === r.seed && block.right[r.r] && block.right[r.r][i] !== "-" ? [[id, i]] : [])));
  if (!block) return [];
  const theirs = answers(other), cell = (r, i) => ({ text: block.outputs[block.said[r.r][i]], style: block.right[r.r][i] === "1" ? "good" : "bad" });
  return [...answers(run)].filter(([id, i]) => theirs.has(id) && block.said[run.r][i] !== block.said[other.r][theirs.get(id)])
    .map(([id, i]) => [id, { text: textOrWhy(block.examples[i][3]), style: "long" }, block.examples[i][2], cell(run, i), cell(other, theirs.get(id))]);
}
