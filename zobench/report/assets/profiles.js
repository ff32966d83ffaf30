// The two profiles: share of runs above a score, and share of targets reached within a multiple of the fastest row's forward passes.
function setUpProfiles() {
  if (!find("f-scores")) return;
  const ranked = DATA.profiles.scores.map(([row]) => row);
  const usual = ranked.length <= 3 ? "all" : String(ranked[0]);
  choose(find("f-bands"), ["none", "all rows", ...ranked.map((row) => DATA.rows[row].name)], ["none", "all", ...ranked]);
  find("f-bands").value = remembered("f-bands", usual);
  find("f-bands").addEventListener("input", () => { remember("f-bands", find("f-bands").value, usual); redrawAll(); });
  whenSeen(find("f-scores"), drawScoreProfile);
  whenSeen(find("f-ratios"), drawRatioProfile);
}

// corners of a step function that keeps its value until the next x
function stepped(x, y) {
  return [x.flatMap((v, i) => (i ? [v, v] : [v])), y.flatMap((v, i) => (i + 1 < y.length ? [100 * v, 100 * v] : [100 * v]))];
}

function profileBand(x, [row, , low, high]) {
  const [along, top] = stepped(x, high), bottom = stepped(x, low)[1];
  return { x: [...along, ...[...along].reverse()], y: [...top, ...bottom.reverse()], fill: "toself", fillcolor: faded(colourOf(row), 0.16), line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false };
}

function profileTraces(x, lines, hover) {
  const shownLines = lines.filter(([row]) => !CURVE.off.has(row));
  const which = find("f-bands").value;
  const bands = shownLines.filter(([row]) => which === "all" || which === String(row)).map((line) => profileBand(x, line));
  return [...bands, ...shownLines.map(([row, y, low, high]) => ({
    x, y: y.map((v) => 100 * v), mode: "lines", name: plotText(DATA.rows[row].name),
    customdata: y.map((_, i) => `${Math.round(100 * low[i])} to ${Math.round(100 * high[i])}`),
    line: { color: colourOf(row), width: 2, dash: dashOf(row), shape: "hv" }, hovertemplate: `%{fullData.name}: %{y:.0f} % (%{customdata}) ${hover}<extra></extra>`,
  }))];
}

function noProfile(lines, ranked = lines) {
  if (lines.length) return "No row is switched on.";
  return ["No row is ranked.", "Only one row is ranked: there is no other to compare its time with."][ranked.length] || "No times to compare.";
}
function profileLegend(lines) { return { showlegend: lines.length <= 8 }; }

function drawScoreProfile() {
  const p = DATA.profiles, sign = DATA.board.higher ? "above" : "below";
  drawPlot(find("f-scores"), profileTraces(p.thresholds.map((t) => t * DATA.board.factor), p.scores, `of runs ${sign} %{x:${DATA.board.one ? ".1f" : ".3~r"}}`), {
    ...profileLegend(p.scores), xaxis: { title: { text: plotText(DATA.board.label) + (DATA.board.unit ? ", " + DATA.board.unit : "") } },
    yaxis: { title: { text: `runs ${sign}, %` }, range: [-3, 103] },
  }, noProfile(p.scores));
}

function drawRatioProfile() {
  const p = DATA.profiles;
  drawPlot(find("f-ratios"), profileTraces(p.ratios, p.reach, "within %{x:.2~f} times"), {
    ...profileLegend(p.reach), xaxis: { title: { text: "times the fastest row's forward passes" }, type: "log", tickvals: [1, 2, 5, 10, 20] },
    yaxis: { title: { text: "target reached, %" }, range: [-3, 103] },
  }, noProfile(p.reach, p.scores));
}
