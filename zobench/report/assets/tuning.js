// Validation score of every trial against each tuned parameter.
function setUpTuning() {
  for (const node of document.querySelectorAll("[data-tuning]")) whenSeen(node, () => drawTuning(node, DATA.tuning[Number(node.dataset.tuning)]));
}

function drawTuning(node, row) {
  const ink = colourInk(), accent = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
  const whole = Math.max(...row.trials.map((t) => t.budget));
  const known = row.trials.filter((t) => t.mean !== null && t.budget === whole);
  const unit = row.share ? 100 : 1;
  const layout = { grid: { rows: 1, columns: row.varied.length, pattern: "independent" }, margin: { l: 52, r: 10 } };
  const curves = [];
  const traces = row.varied.map((key, i) => {
    const n = i ? i + 1 : "";
    const values = known.map((t) => t.params[key]);
    const positive = values.every((v) => typeof v === "number" && v > 0);
    const wide = positive && Math.max(...values) / Math.min(...values) > 20;
    const marks = [...new Set(values)].sort((a, b) => a - b);
    const ticks = positive && marks.length <= 10 ? { tickvals: marks, ticktext: marks.map((v) => (v < 0.01 ? v.toExponential().replace("e-", "e−") : String(v))) } : {};
    layout["xaxis" + n] = { ...ticks, title: { text: plotText(key) }, type: wide ? "log" : values.every((v) => typeof v === "number") ? "linear" : "category", automargin: true };
    const best = marks.map((v) => Math[row.goal](...known.filter((t) => t.params[key] === v).map((t) => unit * t.mean)));
    curves.push({ x: marks.map((v) => (typeof v === "number" ? v : plotText(v))), y: best, xaxis: "x" + n, yaxis: "y" + n, mode: "lines", line: { color: faded(accent, 0.5), width: 1.5 }, hoverinfo: "skip" });
    layout["yaxis" + n] = { title: { text: i ? "" : plotText(row.metric || "validation") + (row.share ? ", %" : "") }, automargin: true };
    return { x: values.map((v) => (typeof v === "number" ? v : plotText(v))), y: known.map((t) => unit * t.mean), xaxis: "x" + n, yaxis: "y" + n, mode: "markers",
      error_y: { type: "data", array: known.map((t) => (t.sd === null ? 0 : unit * t.sd)), color: faded(accent, 0.4), thickness: 1, width: 0 },
      marker: { color: known.map((_, j) => (j ? accent : ink)), size: known.map((_, j) => (j ? 7 : 11)), symbol: known.map((_, j) => (j ? "circle" : "diamond")) }, hovertemplate: `%{x}: %{y:${row.share ? ".1f" : ".3~r"}}${row.share ? " %" : ""}<extra></extra>` };
  });
  drawPlot(node, known.length ? [...traces, ...curves] : [], layout);
}
