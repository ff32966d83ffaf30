// Head to head: the pair's test, its paired differences, and the examples that only one of the two answers correctly.
// the pair before a reader chooses: the first two rows, methods before baselines
const FIRST_PAIR = (([a = 0, b = a]) => [a, b])([...DATA.rows.keys()].sort((x, y) => (DATA.rows[x].kind === "control") - (DATA.rows[y].kind === "control") || x - y));

function setUpHeads() {
  if (DATA.rows.length < 2) {
    const [heading, ...others] = find("pairs").children;
    for (const part of others) part.hidden = true;
    heading.after(make("p", {}, "This page has one row, so there is nothing to compare it with. Two runs are compared in the details of a run."));
    return;
  }
  const names = DATA.rows.map((r) => r.name), places = [...names.keys()];
  for (const id of ["h-a", "h-b"]) {
    choose(find(id), names, places);
    find(id).addEventListener("input", readHeads);
  }
  find("h-a").value = remembered("h-a", FIRST_PAIR[0]);
  find("h-b").value = remembered("h-b", FIRST_PAIR[1]);
  find("h-swap").addEventListener("click", () => {
    const a = find("h-a").value;
    find("h-a").value = find("h-b").value;
    find("h-b").value = a;
    readHeads();
  });
  showHeads();
  whenSeen(find("h-plot"), drawHeads);
  whenSeen(find("h-curves"), drawPairCurves);
}

function readHeads() {
  remember("h-a", find("h-a").value, FIRST_PAIR[0]);
  remember("h-b", find("h-b").value, FIRST_PAIR[1]);
  showHeads();
  if (DRAWN.has(find("h-plot"))) drawHeads();
  if (DRAWN.has(find("h-curves"))) drawPairCurves();
}

function headPair() { return [Number(find("h-a").value), Number(find("h-b").value)]; }

// differences a - b by task over common seeds
function headDifferences(a, b) {
  return DATA.blocks.map((_, k) => {
    const other = new Map(DATA.finals[b][k]);
    return DATA.finals[a][k].filter(([seed]) => other.has(seed)).map(([seed, value]) => ({ seed, a: value, b: other.get(seed), d: value - other.get(seed) }));
  });
}

// the example-level results of the pair, with signs and order as seen from row a
function headDetail(a, b) {
  const found = DATA.heads.find((h) => (h.a === a && h.o === b) || (h.a === b && h.o === a));
  if (!found || found.a === a) return found;
  return { ...found, blocks: found.blocks.map((k) => ({ ...k, low: -k.high, high: -k.low, seeds: k.seeds.map(([s, x, y, p]) => [s, y, x, p]) })) };
}

function detailCells(detail) {
  if (!detail) return [null, null, null, null];
  const sum = (i) => detail.seeds.reduce((s, r) => s + r[i], 0);
  const ps = detail.seeds.map((r) => r[3]);
  const shownP = ps.map((p) => probability(p, "")).join(", ");
  return [sum(1), sum(2), { text: ps.length > 4 ? `${ps.filter((p) => p < DATA.board.alpha).length} of ${ps.length} seeds` : shownP, sort: Math.min(...ps) },
    { text: `${fixed(100 * detail.low, 1).replace("-", "−")} to ${fixed(100 * detail.high, 1).replace("-", "−")}`, sort: detail.low }];
}

function probability(p, sign = "= ") { return p < 0.001 ? "< 0.001" : sign + p.toPrecision(2); }

function headSentence(a, b) {
  const A = DATA.rows[a].name, B = DATA.rows[b].name;
  if (a === b) return "Choose two different rows.";
  const found = DATA.pairs.find((p) => (p[0] === a && p[1] === b) || (p[0] === b && p[1] === a));
  if (!found) return `${A} and ${B} are not both ranked, so they are not tested; the differences below are descriptive.`;
  const turned = found[0] !== a, sign = turned ? -1 : 1;
  const [, , d, lo, hi, p, adjusted, exact, effect, better, said, more] = found;
  const verdict = said === "better" || said === "worse" ? ((said === "better") !== turned ? `${A} is better than ${B}` : `${B} is better than ${A}`) : said === "equivalent" ? `${A} and ${B} are equivalent` : `Undecided between ${A} and ${B}`;
  const ends = lo === null ? "" : ` (uncorrected 95 % interval ${shown(sign > 0 ? lo : -hi, true)} to ${shown(sign > 0 ? hi : -lo, true)})`;
  const parts = [`difference ${shown(sign * d, true)}${ends}`];
  if (p !== null) parts.push(`p ${probability(p)}, after Holm ${probability(adjusted, "")}`);
  const close = headDetail(a, b);
  if (exact !== null) parts.push(`exact sign-flip p ${probability(exact)}`);
  else if (close && close.flips !== null) parts.push(`sign-flip p ${probability(close.flips)}`);
  if (effect !== null) parts.push(`effect size g = ${(sign * effect).toFixed(2).replace("-", "−")}`);
  parts.push(`probability of a higher value ${Math.round(100 * (turned ? 1 - better : better))} %`);
  const plan = said === "undecided" && more !== null ? ` About ${Math.max(1, more)} more seed${more > 1 ? "s" : ""} per task would separate them if the true difference equals the observed one.` : "";
  return `${verdict}: ${parts.join("; ")}.${plan}`;
}

function showHeads() {
  const [a, b] = headPair();
  find("h-text").textContent = headSentence(a, b).replace(/(?<=\d) %|\bp [=<] (?=[\d.])/g, (part) => part.replaceAll(" ", "\u00a0"));
  const known = headDetail(a, b);
  const detail = known && known.blocks.length ? known : null;
  const lines = headDifferences(a, b).map((list, k) => {
    const mean = (key) => (list.length ? list.reduce((s, r) => s + r[key], 0) / list.length : null);
    const d = mean("d");
    const close = detail && detail.blocks.find((x) => x.b === k);
    return [DATA.blocks[k], { text: shown(mean("a")), sort: mean("a") }, { text: shown(mean("b")), sort: mean("b") }, { text: shown(d, true), sort: d, style: "strong" }, list.length, list.filter((r) => r.d > 0).length, ...(detail ? detailCells(close) : [])];
  });
  const unit = DATA.board.unit ? ", " + DATA.board.unit : "";
  const more = detail ? [{ name: "Only this correct", num: true }, { name: "Only other correct", num: true }, { name: "McNemar p by seed", num: true }, { name: "Interval over seeds and examples", num: true }] : [];
  find("h-table").replaceChildren(makeTable("t-heads", "head-to-head", [{ name: "Task" }, { name: `This${unit}`, num: true }, { name: `Other${unit}`, num: true }, { name: `Difference${DATA.board.unit === "%" ? ", points" : unit}`, num: true }, { name: "Common seeds", num: true }, { name: "Seeds where this is higher", num: true }, ...more], lines));
  setUpTable(find("t-heads"));
  find("h-note").hidden = !detail; // it explains the columns of the detail
  showSettings(a, b);
  showExamples(a, b);
}

function headForm() { return DATA.board.one ? "+.1f" : "+.3~r"; }

function drawHeads() {
  const [a, b] = headPair();
  const all = headDifferences(a, b), colour = colourOf(a), soft = getComputedStyle(document.documentElement).getPropertyValue("--soft").trim();
  const points = all.flatMap((list, k) => list.map((r) => ({ x: r.d * DATA.board.factor, y: plotText(DATA.blocks[k]), seed: r.seed })));
  const means = all.flatMap((list, k) => (list.length ? [{ x: (list.reduce((s, r) => s + r.d, 0) / list.length) * DATA.board.factor, y: plotText(DATA.blocks[k]) }] : []));
  drawPlot(find("h-plot"), points.length && a !== b ? [
    { x: points.map((p) => p.x), y: points.map((p) => p.y), text: points.map((p) => `seed ${p.seed}`), mode: "markers", marker: { color: colour, size: 8, opacity: 0.6 }, hovertemplate: `%{x:${headForm()}} (%{text})<extra></extra>` },
    { x: means.map((p) => p.x), y: means.map((p) => p.y), mode: "markers", marker: { color: colour, size: 15, symbol: "line-ns", line: { width: 3, color: colour } }, hovertemplate: `mean %{x:${headForm()}}<extra></extra>` },
  ] : [], {
    xaxis: { ...asWritten(points.map((p) => p.x)), title: { text: "difference by seed (dot) and mean (bar)" + (DATA.board.unit === "%" ? ", points" : "") }, rangemode: "tozero", zeroline: true, zerolinecolor: soft, zerolinewidth: 1.5 },
    yaxis: { type: "category", autorange: "reversed" }, margin: { l: 100, b: 44 },
  });
}

function showExamples(a, b) {
  const place = find("h-examples");
  const lines = [], counts = [0, 0];
  for (const block of DATA.examples) {
    const right = [block.right[a], block.right[b]], said = [block.said[a], block.said[b]];
    if (!right[0] || !right[1] || a === b) continue;
    block.examples.forEach(([id, seed, gold, text], i) => {
      const pair = right[0][i] + right[1][i];
      if (pair !== "10" && pair !== "01") return;
      counts[pair === "10" ? 0 : 1]++;
      if (lines.length < 300) lines.push([DATA.blocks[block.b], id, seed, { text: textOrWhy(text), style: "long" }, gold, { text: block.outputs[said[0][i]], style: pair === "10" ? "good" : "bad" }, { text: block.outputs[said[1][i]], style: pair === "10" ? "bad" : "good" }]);
    });
  }
  if (!lines.length) { place.replaceChildren(); return; }
  const A = DATA.rows[a].name, B = DATA.rows[b].name;
  const texts = lines.some((line) => line[3].text); // images have none
  place.replaceChildren(make("h3", {}, "Examples that only one answers correctly"),
    make("p", { class: "small" }, `Only ${A}: ${counts[0]}. Only ${B}: ${counts[1]}.` + (counts[0] + counts[1] > lines.length ? ` The first ${lines.length} are listed.` : "") + ` Counted over the ${DATA.examples.reduce((s, k) => s + k.examples.length, 0)} examples stored in this page.`),
    make("div", { class: "tools", "data-for": "t-examples" }),
    makeTable("t-examples", "examples", [{ name: "Task" }, { name: "Example" }, { name: "Seed", num: true }, ...(texts ? [{ name: "Text" }] : []), { name: "Gold" }, { name: "Answer of this" }, { name: "Answer of other" }], texts ? lines : lines.map((line) => line.filter((_, i) => i !== 3))));
  setUpTable(find("t-examples"));
}
