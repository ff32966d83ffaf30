// The two profiles: scores that runs exceed, and how many times the fastest row's forwards a row needs.
function setUpProfiles() {
  if (!find("f-scores")) return;
  whenSeen(find("f-scores"), drawScoreProfile);
  whenSeen(find("f-ratios"), drawRatioProfile);
}

function profileTraces(x, lines, hover) {
  return lines.filter(([row]) => !CURVE.off.has(row)).map(([row, y]) => ({
    x, y: y.map((v) => 100 * v), mode: "lines", name: plotText(DATA.rows[row].name),
    line: { color: colourOf(row), width: 2, dash: dashOf(row), shape: "hv" }, hovertemplate: `%{fullData.name}: %{y:.0f} % ${hover}<extra></extra>`,
  }));
}

function profileLegend(lines) {
  const few = lines.length <= 8;
  return { showlegend: few, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 11 } }, margin: { l: 56, r: 12, t: few ? 36 : 8, b: 48 } };
}

function drawScoreProfile() {
  const p = DATA.profiles, sign = DATA.board.higher ? "above" : "below";
  drawPlot(find("f-scores"), profileTraces(p.thresholds.map((t) => t * DATA.board.factor), p.scores, `of runs ${sign} %{x:.4~r}`), {
    ...profileLegend(p.scores), xaxis: { title: { text: plotText(DATA.board.label) + (DATA.board.unit ? ", " + DATA.board.unit : "") } },
    yaxis: { title: { text: `runs ${sign}, %` }, range: [-3, 103] },
  });
}

function drawRatioProfile() {
  const p = DATA.profiles;
  drawPlot(find("f-ratios"), profileTraces(p.ratios, p.reach, "within %{x:.2~f} times"), {
    ...profileLegend(p.reach), xaxis: { title: { text: "times the fastest row's forwards" }, type: "log", tickvals: [1, 2, 5, 10, 20] },
    yaxis: { title: { text: "target reached, %" }, range: [-3, 103] },
  });
}
