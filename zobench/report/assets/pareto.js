// Any two columns of the ranking table against each other, with the Pareto front of the ranked rows.
const LOWER = new Set(["forwards", "seconds", "memory", "tokens", "generated_tokens", "tuning", "tuned", "net", "rank"]);

function paretoColumns() {
  const heads = [...find("t-ranking").tHead.rows[0].cells];
  return heads.flatMap((h, i) => (h.classList.contains("num") && h.dataset.key !== "rank" ? [{ i, key: h.dataset.key, label: h.textContent }] : []));
}

function setUpPareto() {
  const columns = paretoColumns();
  for (const [id, otherwise] of [["p-x", "seconds"], ["p-y", "mean"]]) {
    choose(find(id), columns.map((c) => c.label), columns.map((c) => c.key));
    find(id).value = remembered(id, otherwise);
    if (find(id).selectedIndex < 0) find(id).selectedIndex = 0;
    find(id).addEventListener("input", () => { remember(id, find(id).value, otherwise); drawPareto(); });
  }
  find("p-logx").checked = remembered("p-logx", "") === "1";
  find("p-logx").addEventListener("input", () => { remember("p-logx", find("p-logx").checked ? 1 : ""); drawPareto(); });
  whenSeen(find("p-plot"), drawPareto);
}

function lowerBetter(key) { return LOWER.has(key) || (["mean", "iqm"].includes(key) || key.startsWith("block ")) && !DATA.board.higher; }

function paretoPoints(x, y) {
  const names = new Map(DATA.rows.map((r, i) => [r.name, i]));
  const points = [];
  for (const tr of find("t-ranking").tBodies[0].rows) {
    const a = cellValue(tr, x.i), b = cellValue(tr, y.i);
    const name = tr.cells[1].firstChild.textContent.trim();
    if (typeof a === "number" && typeof b === "number") points.push({ x: a * unitOf(x), y: b * unitOf(y), row: names.has(name) ? names.get(name) : 0 });
  }
  return points;
}

function unitOf(column) {
  if (column.key === "mean" || column.key === "iqm" || column.key.startsWith("block ")) return DATA.board.factor;
  if (["robust", "net", "first"].includes(column.key)) return 100;
  return column.key === "memory" ? 2 ** -20 : 1;
}

function front(points, lowX, lowY) {
  const sx = lowX ? 1 : -1, sy = lowY ? 1 : -1;
  const ranked = points.filter((p) => DATA.rows[p.row].kind === "ranked").sort((a, b) => sx * (a.x - b.x) || sy * (a.y - b.y));
  const out = [];
  let best = Infinity; // points come best x first, so a point is on the front if its y is better than all before it
  for (const p of ranked) if (sy * p.y < best) { best = sy * p.y; out.push(p); }
  return out;
}

// positions of names relative to their points: above, or below or beside if another name or point is there; in shares of the plot
const PLACES = [["top center", 0, 0.045], ["bottom center", 0, -0.045], ["middle left", -0.06, 0], ["middle right", 0.06, 0]];

function labelPlaces(points, log) {
  const scaled = (values) => { const low = Math.min(...values), span = Math.max(...values) - low || 1; return values.map((v) => (v - low) / span); };
  const across = scaled(points.map((p) => (log ? Math.log(Math.max(p.x, 1e-9)) : p.x))), up = scaled(points.map((p) => p.y));
  const names = [];
  const free = (x, y, i) => !names.some(([a, b]) => Math.abs(a - x) < 0.1 && Math.abs(b - y) < 0.045) &&
    !across.some((a, j) => j !== i && Math.abs(a - x) < 0.05 && Math.abs(up[j] - y) < 0.03);
  return points.map((_, i) => {
    const found = PLACES.find(([, dx, dy]) => free(across[i] + dx, up[i] + dy, i)) || PLACES[0];
    names.push([across[i] + found[1], up[i] + found[2]]);
    return found[0];
  });
}

function inPercent(column) { return unitOf(column) === 100; }
function paretoHover(axis, column) { return inPercent(column) ? `%{${axis}:.1f} %` : `%{${axis}:,.3~r}`; }

function drawPareto() {
  const columns = paretoColumns();
  const x = columns.find((c) => c.key === find("p-x").value), y = columns.find((c) => c.key === find("p-y").value);
  const points = paretoPoints(x, y);
  const edge = front(points, lowerBetter(x.key), lowerBetter(y.key));
  const soft = getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
  const log = find("p-logx").checked;
  const traces = points.length ? [
    { x: edge.map((p) => p.x), y: edge.map((p) => p.y), mode: "lines+markers", line: { color: soft, width: 1, dash: "dot" }, marker: { size: 19, color: "rgba(0,0,0,0)", line: { color: soft, width: 1 } }, hoverinfo: "skip" },
    { x: points.map((p) => p.x), y: points.map((p) => p.y), mode: points.length > 40 ? "markers" : "markers+text", text: points.map((p) => plotText(DATA.rows[p.row].name)),
      textposition: labelPlaces(points, log), cliponaxis: false, textfont: { size: 11.5 }, marker: { size: 10, color: points.map((p) => colourOf(p.row)), symbol: points.map((p) => (DATA.rows[p.row].kind === "ranked" ? "circle" : "circle-open")), line: { width: 1.5 } },
      hovertemplate: `%{text}<br>${paretoHover("x", x)}, ${paretoHover("y", y)}<extra></extra>` },
  ] : [];
  drawPlot(find("p-plot"), traces, {
    xaxis: { title: { text: plotText(x.label) + (lowerBetter(x.key) ? " (lower is better)" : "") }, type: log ? "log" : "linear" },
    yaxis: { title: { text: plotText(y.label) + (lowerBetter(y.key) ? " (lower is better)" : "") } }, margin: { l: 60, r: 40, t: 48 },
  });
}
