// The examples browser: what was asked, the gold answer, the answers of the rows, and texts changed by attacks.
const BROWSE = { shown: 20 };
const AT_A_TIME = 20;

function setUpExamples() {
  if (!find("e-list")) return;
  const conditions = [...new Set(DATA.attacked.map((a) => a[3]))];
  const seeds = [...new Set([...DATA.examples.flatMap((k) => k.examples.map((e) => e[1])), ...DATA.attacked.map((a) => a[2])])].sort((a, b) => a - b);
  choose(find("e-task"), ["all tasks", ...DATA.blocks], ["", ...DATA.blocks.keys()]);
  choose(find("e-row"), ["all rows", ...DATA.rows.map((r) => r.name)], ["", ...DATA.rows.keys()]);
  choose(find("e-seed"), ["all seeds", ...seeds.map((s) => `seed ${s}`)], ["", ...seeds]);
  choose(find("e-what"), ["clean texts", ...conditions.map((c) => `attack ${c}`)], ["", ...conditions]);
  choose(find("e-show"), ["all", "with a wrong answer", "answered right", "answer changed"], ["", "wrong", "right", "changed"]);
  for (const id of ["e-task", "e-row", "e-seed", "e-what", "e-show", "e-find"]) {
    find(id).value = remembered(id, "");
    if (find(id).selectedIndex < 0) find(id).selectedIndex = 0;
    find(id).addEventListener("input", () => { remember(id, find(id).value); BROWSE.shown = AT_A_TIME; showBrowser(); });
  }
  find("e-more").addEventListener("click", () => { BROWSE.shown += AT_A_TIME; showBrowser(); });
  showBrowser();
}

function textAt(place) { return place < 0 ? "" : DATA.texts[place]; }

// records from before prompts were kept have no text, and a page has room for a limited number
function textOrWhy(place) {
  if (place >= 0) return DATA.texts[place];
  return DATA.texts.length ? "(the text is not in this page or not recorded)" : "(these records have no prompts)";
}

// entries of the chosen condition, before the filters: { block, seed, id, text, gold, answers: [[row, said, right]], … }
function cleanEntries(row) {
  return DATA.examples.flatMap((block) => block.examples.map(([id, seed, gold, text], i) => ({
    block: block.b, seed, id, gold, text: textAt(text),
    answers: Object.keys(block.right).map(Number).filter((r) => (row === "" || r === Number(row)) && block.right[r][i] !== "-")
      .map((r) => [r, block.outputs[block.said[r][i]], block.right[r][i] === "1"]),
  }))).filter((e) => e.answers.length);
}

function attackedEntries(row, condition) {
  return DATA.attacked.filter((a) => a[3] === condition && (row === "" || a[0] === Number(row)))
    .map(([r, block, seed, , id, text, moves, gold, before, after, changed, queries]) => ({ block, seed, id, gold, text: textAt(text), moves, row: r, before, after, changed: Boolean(changed), queries }));
}

function kept(entry, show) {
  if (!show) return true;
  if (entry.moves) return show === "changed" ? entry.changed : show === "wrong" ? entry.changed : !entry.changed;
  if (show === "changed") return new Set(entry.answers.map((a) => a[1])).size > 1;
  return show === "wrong" ? entry.answers.some((a) => !a[2]) : entry.answers.every((a) => a[2]);
}

function showBrowser() {
  const chosen = Object.fromEntries(["task", "row", "seed", "what", "show", "find"].map((k) => [k, find(`e-${k}`).value]));
  const words = chosen.find.trim().toLowerCase();
  const every = chosen.what === "" ? cleanEntries(chosen.row) : attackedEntries(chosen.row, chosen.what);
  const found = every.filter((e) => (chosen.task === "" || e.block === Number(chosen.task)) && (chosen.seed === "" || e.seed === Number(chosen.seed)) && kept(e, chosen.show) &&
    (!words || [e.text, e.gold, e.id, e.before, e.after, ...(e.answers || []).map((a) => a[1])].join(" ").toLowerCase().includes(words)));
  find("e-list").replaceChildren(...found.slice(0, BROWSE.shown).map((e) => (e.moves ? attackedCard(e) : cleanCard(e))));
  const told = found.length ? `${Math.min(found.length, BROWSE.shown)} of ${found.length} examples that match, of ${every.length} in this page.` : `No example matches, of ${every.length} in this page.`;
  find("e-count").textContent = told + withoutText(found);
  find("e-more").hidden = found.length <= BROWSE.shown;
}

// an example without a text is shown by its name alone; why is said once
function withoutText(found) {
  const without = found.filter((e) => !e.text).length;
  return !without ? "" : without < found.length ? ` Of ${without} of them: ${textOrWhy(-1)}.` : ` ${textOrWhy(-1)}.`;
}

function verdictOf(said, right) {
  return make("span", { class: right ? "good" : "bad" }, `${right ? "✓" : "✗"} ${said || "(empty)"}`, make("span", { class: "offscreen" }, right ? ", right" : ", wrong"));
}

function line(term, ...parts) { return make("div", {}, make("dt", {}, term), make("dd", {}, ...parts)); }

// rows with the same answer share a line
function cleanCard(e) {
  const said = new Map();
  for (const [row, text, right] of e.answers) said.set(text, { right, rows: [...(said.get(text) || { rows: [] }).rows, DATA.rows[row].name] });
  const lines = [...said].map(([text, { right, rows }]) => line(rows.join(", "), e.gold === "" ? text : verdictOf(text, right)));
  return make("li", {}, ...(e.text ? [make("p", { class: "asked" }, e.text)] : []), make("dl", { class: "said" }, ...(e.gold === "" ? [] : [line("Gold", make("b", {}, e.gold))]), ...lines),
    make("p", { class: "small dim" }, `${DATA.blocks[e.block]} · ${e.id} · seed ${e.seed}`));
}

// the original text with its edits: removed parts struck through, inserted ones underlined
function edited(text, moves) {
  const signs = Array.from(text);
  let at = 0;
  return moves.map((move) => {
    if (typeof move === "string") return make("ins", {}, move);
    const part = signs.slice(at, at + Math.abs(move)).join("");
    at += Math.abs(move);
    return move < 0 ? make("del", {}, part) : part;
  });
}

function attackedCard(e) {
  return make("li", {}, make("p", { class: "asked edit" }, ...edited(e.text, e.moves)),
    make("dl", { class: "said" }, line("Gold", make("b", {}, e.gold)), line("Before", verdictOf(e.before, true)), line("After", verdictOf(e.after, !e.changed))),
    make("p", { class: "small dim" }, `${DATA.rows[e.row].name} · ${DATA.blocks[e.block]} · ${e.id} · seed ${e.seed}` + (e.queries === null ? "" : ` · ${e.queries} queries`)));
}
