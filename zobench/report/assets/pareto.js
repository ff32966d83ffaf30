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

// places of a name relative to its point, in pixels: the first that covers no other name or point and stays in the plot
const PLACES = [["top center", -0.5, 15], ["bottom center", -0.5, -15], ["middle right", 0, 0], ["middle left", -1, 0]];
const LETTER = 6.6, LINE = 14, NEAR = 5;

// for each point its text and the text's place; points that coincide share one text, and a name without a free place is left to the hover
function pointLabels(points, names, log, width, height) {
  const scaled = (values) => { const low = Math.min(...values), span = Math.max(...values) - low || 1; return values.map((v) => 0.06 + (0.88 * (v - low)) / span); };
  const xs = scaled(points.map((p) => (log ? Math.log(Math.max(p.x, 1e-9)) : p.x))).map((v) => v * width);
  const ys = scaled(points.map((p) => p.y)).map((v) => v * height);
  const leader = points.map((_, i) => xs.findIndex((x, j) => Math.abs(x - xs[i]) < NEAR && Math.abs(ys[j] - ys[i]) < NEAR));
  const taken = [];
  return points.map((_, i) => {
    if (leader[i] !== i) return [" ", "top center"];
    const same = names.filter((_, j) => leader[j] === i);
    const text = same.length > 3 ? `${same[0]}, ${same[1]} and ${same.length - 2} more` : same.join(", ");
    const wide = text.length * LETTER;
    const boxes = PLACES.map(([place, share, up]) => {
      const left = xs[i] + share * wide + (up ? 0 : share < 0 ? -8 : 8);
      return { place, left, right: left + wide, low: ys[i] + up - LINE / 2, high: ys[i] + up + LINE / 2 };
    });
    const clear = (b) => b.left >= 0 && b.right <= width + 36 && !taken.some((t) => b.left < t.right && t.left < b.right && b.low < t.high && t.low < b.high) &&
      !xs.some((x, j) => leader[j] !== i && b.left < x + NEAR && x - NEAR < b.right && b.low < ys[j] + NEAR && ys[j] - NEAR < b.high);
    const found = boxes.find(clear);
    if (!found) return [" ", "top center"];
    taken.push(found);
    return [text, found.place];
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
  const log = find("p-logx").checked, node = find("p-plot");
  const names = points.map((p) => plotText(DATA.rows[p.row].name));
  const labels = pointLabels(points, names, log, node.clientWidth - 100, node.clientHeight - 96);
  const traces = points.length ? [
    { x: edge.map((p) => p.x), y: edge.map((p) => p.y), mode: "lines+markers", line: { color: soft, width: 1, dash: "dot" }, marker: { size: 19, color: "rgba(0,0,0,0)", line: { color: soft, width: 1 } }, hoverinfo: "skip" },
    { x: points.map((p) => p.x), y: points.map((p) => p.y), mode: points.length > 40 ? "markers" : "markers+text", text: names,
      texttemplate: labels.map((l) => l[0]), textposition: labels.map((l) => l[1]), cliponaxis: false, textfont: { size: 11.5 }, marker: { size: 10, color: points.map((p) => colourOf(p.row)), symbol: points.map((p) => (DATA.rows[p.row].kind === "ranked" ? "circle" : "circle-open")), line: { width: 1.5 } },
      hovertemplate: `%{text}<br>${paretoHover("x", x)}, ${paretoHover("y", y)}<extra></extra>` },
  ] : [];
  drawPlot(node, traces, {
    xaxis: { ...asWritten(points.map((p) => p.x)), title: { text: plotText(x.label) + (lowerBetter(x.key) ? " (lower is better)" : "") }, type: log ? "log" : "linear" },
    yaxis: { ...asWritten(points.map((p) => p.y)), title: { text: plotText(y.label) + (lowerBetter(y.key) ? " (lower is better)" : "") } }, margin: { l: 60, r: 40, t: 48 },
  });
}
