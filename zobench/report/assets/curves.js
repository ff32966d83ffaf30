// Curves against forward passes, tokens or seconds, final values against memory, and the cost of each row to reach a target.
const CURVE = { task: 0, what: 0, axis: 0, logx: false, logy: false, target: null, off: new Set(), whats: [] };

const NO_CURVES = "No curves: every metric was measured once in each run.";

function whatOf(c) { return c.kind + "|" + c.condition + "|" + c.metric; }

function whatLabel(key) {
  const [kind, condition, metric] = key.split("|");
  if (kind === "train") return "training loss";
  if (kind === "attack") return `${metric} under ${condition}`;
  if (kind === "null") return `${metric} under the random baseline of ${condition}`;
  return `test ${metric}`;
}

function setUpCurves() {
  const counts = new Map();
  for (const c of DATA.curves) counts.set(whatOf(c), Math.max(counts.get(whatOf(c)) || 0, c.y.length));
  CURVE.whats = [...counts.keys()].filter((k) => counts.get(k) > 1);
  CURVE.whats.sort((a, b) => (b.startsWith("clean") - a.startsWith("clean")) || a.length - b.length);
  for (const id of ["curve-about", "curve-controls", "c-rows"]) find(id).hidden = !CURVE.whats.length;
  choose(find("c-task"), ["mean over tasks", ...DATA.blocks], [-1, ...DATA.blocks.keys()]);
  choose(find("c-metric"), CURVE.whats.map(whatLabel), CURVE.whats);
  choose(find("c-axis"), DATA.axes, [...DATA.axes.keys()]);
  CURVE.task = Number(remembered("c-task", DATA.blocks.length > 1 ? -1 : 0));
  CURVE.what = remembered("c-metric", CURVE.whats.find((w) => w.startsWith("clean") && !/nll|loss/.test(w)) || CURVE.whats[0]);
  CURVE.axis = Number(remembered("c-axis", 0));
  CURVE.logx = remembered("c-logx", "") === "1";
  CURVE.logy = remembered("c-logy", "") === "1";
  CURVE.target = remembered("c-target", "") === "" ? null : Number(remembered("c-target", ""));
  const few = DATA.rows.length > 14 ? DATA.rows.flatMap((r, i) => (i >= 8 ? [i] : [])).join(".") : "";
  CURVE.off = new Set(remembered("c-off", few).split(".").filter(Boolean).map(Number));
  find("c-task").value = CURVE.task; find("c-metric").value = CURVE.what; find("c-axis").value = CURVE.axis;
  find("c-logx").checked = CURVE.logx; find("c-logy").checked = CURVE.logy;
  find("c-target").value = CURVE.target === null ? "" : CURVE.target;
  find("c-rows").append(...DATA.rows.map((row, i) => legendButton(row, i)));
  find("curve-controls").addEventListener("input", readCurveControls);
  whenSeen(find("c-plot"), drawCurves);
}

function legendButton(row, i) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 18); svg.setAttribute("height", 8); svg.setAttribute("aria-hidden", "true");
  svg.dataset.row = i;
  const button = make("button", { type: "button", "aria-pressed": !CURVE.off.has(i) }, svg, row.name);
  button.addEventListener("click", () => {
    if (CURVE.off.has(i)) CURVE.off.delete(i); else CURVE.off.add(i);
    button.setAttribute("aria-pressed", String(!CURVE.off.has(i)));
    remember("c-off", [...CURVE.off].join("."), null);
    redrawAll();
  });
  return button;
}

function paintLegend() {
  for (const svg of document.querySelectorAll("#c-rows svg")) {
    const i = Number(svg.dataset.row);
    svg.replaceChildren(...swatch(colourOf(i), dashOf(i)).childNodes);
  }
}

function readCurveControls() {
  CURVE.task = Number(find("c-task").value); CURVE.what = find("c-metric").value; CURVE.axis = Number(find("c-axis").value);
  CURVE.logx = find("c-logx").checked; CURVE.logy = find("c-logy").checked;
  CURVE.target = find("c-target").value === "" ? null : Number(find("c-target").value);
  remember("c-task", CURVE.task, DATA.blocks.length > 1 ? -1 : 0);
  remember("c-metric", CURVE.what); remember("c-axis", CURVE.axis, 0);
  remember("c-logx", CURVE.logx ? 1 : ""); remember("c-logy", CURVE.logy ? 1 : "");
  remember("c-target", CURVE.target === null ? "" : CURVE.target);
  drawCurves();
}

// the curve of a row, on one task or averaged over tasks at the points that all tasks have
function rowCurve(row, axis = CURVE.axis) {
  const mine = DATA.curves.filter((c) => c.r === row && whatOf(c) === CURVE.what && (CURVE.task < 0 || c.b === CURVE.task));
  if (!mine.length) return null;
  if (mine.length === 1) return { x: mine[0].x[axis], y: mine[0].y, h: mine[0].h };
  const shared = Math.min(...mine.map((c) => c.y.length));
  const x = [], y = [], h = [];
  for (let i = 0; i < shared; i++) {
    if (mine.some((c) => c.y[i] === null)) continue;
    x.push(mine.reduce((s, c) => s + c.x[axis][i], 0) / mine.length);
    y.push(mine.reduce((s, c) => s + c.y[i], 0) / mine.length);
    const spread = mine.map((c) => c.h[i]);
    h.push(spread.includes(null) ? null : Math.sqrt(spread.reduce((s, v) => s + v * v, 0)) / mine.length);
  }
  return { x, y, h };
}

// peak memory does not change along a curve: a row is one point, its last value at its peak memory
function memoryPoint(row) {
  const c = rowCurve(row, 0);
  if (!c) return null;
  const taken = DATA.memory[row].filter((m, b) => m !== null && (CURVE.task < 0 || b === CURVE.task));
  if (!taken.length) return null;
  const last = c.y.length - 1;
  return { x: taken.reduce((s, m) => s + m, 0) / taken.length, y: c.y[last], h: c.h[last] };
}

function memoryTraces(scale) {
  return DATA.rows.flatMap((row, i) => {
    const p = CURVE.off.has(i) ? null : memoryPoint(i);
    if (!p || p.y === null) return [];
    const [low, high] = p.h === null ? [p.y, p.y] : ends(CURVE.what, p.y, p.h);
    return [{ x: [p.x], y: [p.y * scale], mode: "markers", name: plotText(row.name), marker: { size: 11, color: colourOf(i), symbol: row.kind === "ranked" ? "circle" : "circle-open" },
      error_y: { type: "data", symmetric: false, array: [(high - p.y) * scale], arrayminus: [(p.y - low) * scale], color: colourOf(i), thickness: 1.5, width: 4 }, hovertemplate: `%{fullData.name}: ${hoverOf(scale === 100)} at %{x:,.4~r} MiB<extra></extra>` }];
  });
}

const MEMORY = 3;
function hoverOf(percent) { return percent ? "%{y:.1f} %" : "%{y:.3~r}"; }

function drawCurves() {
  paintLegend();
  if (!CURVE.whats.length) { drawPlot(find("c-plot"), [], {}, NO_CURVES); return; }
  const percent = isShare(CURVE.what);
  const scale = percent ? 100 : 1;
  const reads = [];
  const traces = CURVE.axis === MEMORY ? memoryTraces(scale) : [];
  DATA.rows.forEach((row, i) => {
    const c = CURVE.axis === MEMORY ? null : rowCurve(i);
    if (!c || CURVE.off.has(i)) return;
    const colour = colourOf(i), y = c.y.map((v) => v * scale);
    const complete = c.h.every((v) => v !== null);
    // without training there is a single value: a horizontal line on a hidden second axis, which leaves the range of the first alone
    if (y.length === 1 || Math.max(...c.x) === 0) {
      traces.push({ x: [0, 1], y: [y[y.length - 1], y[y.length - 1]], xaxis: "x2", mode: "lines", line: { color: colour, dash: dashOf(i), width: 1.5 }, name: plotText(row.name), hovertemplate: `%{fullData.name}: ${hoverOf(percent)}<extra></extra>` });
      return;
    }
    if (complete && row.kind === "ranked") {
      const band = c.y.map((v, j) => ends(CURVE.what, v, c.h[j]).map((e) => e * scale));
      traces.push({ x: [...c.x, ...[...c.x].reverse()], y: [...band.map((b) => b[1]), ...band.map((b) => b[0]).reverse()], fill: "toself", fillcolor: faded(colour, 0.13), line: { width: 0 }, hoverinfo: "skip", mode: "lines" });
    }
    traces.push({ x: c.x, y, mode: y.length > 30 ? "lines" : "lines+markers", line: { color: colour, width: 2, dash: dashOf(i) }, marker: { size: 5 }, name: plotText(row.name), hovertemplate: `%{fullData.name}: ${hoverOf(percent)}<br>%{x:,.4~r} ${DATA.axes[CURVE.axis]}<extra></extra>` });
    if (CURVE.target !== null) reads.push([i, crossing(c.x, y, CURVE.target, lowerIsBetter(CURVE.what)), c.x[c.x.length - 1]]);
  });
  const shapes = CURVE.target === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: CURVE.target, y1: CURVE.target, line: { color: colourInk(), width: 1, dash: "dot" } }];
  drawPlot(find("c-plot"), traces, {
    shapes, xaxis: { title: { text: DATA.axes[CURVE.axis] }, type: CURVE.logx ? "log" : "linear" },
    xaxis2: { overlaying: "x", range: [0, 1], visible: false, fixedrange: true },
    yaxis: { title: { text: plotText(whatLabel(CURVE.what)) + (percent ? ", %" : "") }, type: CURVE.logy ? "log" : "linear" },
  });
  showReads(reads);
  find("c-partial").textContent = partialMeans();
}

// the mean of a row that has no curve on some tasks is over its other tasks, which is said
function partialMeans() {
  if (CURVE.task >= 0) return "";
  const tasks = DATA.rows.map((_, i) => CURVE.off.has(i) ? [] : DATA.curves.filter((c) => c.r === i && whatOf(c) === CURVE.what).map((c) => c.b).sort((a, b) => a - b));
  const all = new Set(tasks.flat()).size, rows = new Map();
  tasks.forEach((t, i) => {
    const over = t.map((b) => DATA.blocks[b]).join(", ");
    if (t.length && t.length < all) rows.set(over, [...(rows.get(over) || []), DATA.rows[i].name]);
  });
  return [...rows].map(([over, names]) => `${names.join(", ")}: mean over ${over} alone.`).join(" ");
}

function aboutMetric(what) { return DATA.metrics[what.split("|").slice(2).join("|")] || {}; }
function isShare(what) { return Boolean(aboutMetric(what).share); }
function lowerIsBetter(what) { return Boolean(aboutMetric(what).lower); }

// ends of the interval of a mean v with the t half width h: for a share on the scale of logits, as Interval.within
function ends(what, v, h) {
  if (!isShare(what) || v < 0 || v > 1 || h === 0) return [v - h, v + h];
  const z = Math.log(v / (1 - v)), step = h / (v * (1 - v));
  return [1 / (1 + Math.exp(step - z)), 1 / (1 + Math.exp(-step - z))];
}
function colourInk() { return getComputedStyle(document.documentElement).getPropertyValue("--ink").trim(); }

// the first measured point that meets the target; not interpolated, so never optimistic
function crossing(x, y, target, lower) {
  for (let i = 0; i < y.length; i++) if (lower ? y[i] <= target : y[i] >= target) return x[i];
  return null;
}

function showReads(reads) {
  const place = find("c-read");
  if (!reads.length) { place.replaceChildren(); return; }
  reads.sort((a, b) => (a[1] === null) - (b[1] === null) || a[1] - b[1]);
  const axis = DATA.axes[CURVE.axis];
  const lines = reads.map(([i, at, last]) => [DATA.rows[i].name, at === null ? { text: `not within ${compact(last)}`, sort: last * 1e6 } : { text: compact(at), sort: at }]);
  place.replaceChildren(make("p", { class: "small" }, `First measured point at which the mean curve meets ${CURVE.target}:`),
    makeTable("t-target", "target", [{ name: "Row" }, { name: `${axis} to target`, num: true }], lines));
  setUpTable(find("t-target"));
}
