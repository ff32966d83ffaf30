// Filters of tables: words, and conditions on columns, with an explanation of how they were understood.
function bare(text) { return text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, ""); }

// the number in a displayed text: 81.7 ± 1.2, −3.4, 28.8k
function shownNumber(text) {
  const found = text.trim().replaceAll("−", "-").replaceAll(",", "").match(/^([+-]?\d*\.?\d+(?:e[+-]?\d+)?)\s*([kMG])?/);
  return found ? Number(found[1]) * ({ k: 1e3, M: 1e6, G: 1e9 }[found[2]] || 1) : null;
}

function columnNamed(state, named) {
  const exact = state.heads.findIndex((h) => bare(h.dataset.key) === named || bare(h.textContent) === named);
  return exact >= 0 ? exact : state.heads.findIndex((h) => bare(h.textContent).startsWith(named));
}

const OPERATORS = { "≤": "<=", "≥": ">=", "==": "=" };
const SPOKEN = { "<": "below", ">": "above", "<=": "at most", ">=": "at least", ":": "contains", "=": "contains" };

// the parts of a query: words, quoted texts, operators; spaces around an operator are ignored
function tokensOf(query) {
  return [...query.matchAll(/"([^"]*)"|(<=|>=|==|≤|≥|[<>:=])|([^\s<>:=≤≥"]+)/g)].map((m) =>
    (m[2] ? { operator: OPERATORS[m[2]] || m[2] } : { text: m[1] !== undefined ? m[1] : m[3], quoted: m[1] !== undefined })).filter((t) => t.quoted || !["and", "%", ","].includes(t.text));
}

// conditions of a query; words before an operator are joined to the longest name of a column: worst attack > 60
function conditionsOf(state, query) {
  const tokens = tokensOf(query), found = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i].operator) { found.push({ problem: `“${tokens[i].operator}” has no column before it` }); continue; }
    let column = -1, last = i;
    for (let j = i, name = ""; j < tokens.length && !tokens[j].operator; j++) {
      name += tokens[j].text;
      if (tokens[j + 1] && tokens[j + 1].operator) { last = j; column = columnNamed(state, bare(name) || "\0"); }
    }
    const operator = tokens[last + 1] && tokens[last + 1].operator;
    if (!operator) { found.push({ word: tokens[i].text }); continue; }
    if (column < 0 && last > i) { found.push({ word: tokens[i].text }); continue; }
    const value = tokens[last + 2];
    if (!value || value.operator) found.push({ problem: `a value is missing after “${tokens[last].text} ${operator}”` });
    else found.push(comparison(state, column, tokens.slice(i, last + 1).map((t) => t.text).join(" "), operator, value.text));
    i = last + (value && !value.operator ? 2 : 1);
  }
  return found;
}

function comparison(state, column, name, operator, value) {
  if (column < 0) return operator === ":" ? { word: `${name}:${value}` } : { problem: `no column is called “${name}”` };
  if (":=".includes(operator)) return { column, operator, value };
  const wanted = shownNumber(value);
  return wanted === null ? { problem: `“${value}” is not a number` } : { column, operator, value, wanted };
}

function holds(row, c) {
  if (c.problem) return false;
  if (c.word !== undefined) return row.textContent.replaceAll("\u00a0", " ").toLowerCase().includes(c.word.toLowerCase());
  const text = row.cells[c.column].textContent.replaceAll("\u00a0", " ");
  if (c.wanted === undefined) return text.toLowerCase().includes(c.value.toLowerCase());
  const value = shownNumber(text);
  if (value === null) return false;
  return c.operator === "<" ? value < c.wanted : c.operator === ">" ? value > c.wanted : c.operator === "<=" ? value <= c.wanted : value >= c.wanted;
}

function told(state, c) {
  if (c.word !== undefined) return `any cell contains “${c.word}”`;
  return `${headingOf(state.heads[c.column])} ${SPOKEN[c.operator]} ${c.wanted === undefined ? `“${c.value}”` : c.value}`;
}

// how a query was understood; if a part was not, what a filter can be
function explained(state, conditions, count, all) {
  if (!conditions.length) return "";
  const problems = conditions.filter((c) => c.problem).map((c) => c.problem);
  if (!problems.length) return `${count} of ${all} lines: ${conditions.map((c) => told(state, c)).join(", and ")}.`;
  const columns = state.heads.map(headingOf);
  return `Not understood: ${problems.join("; ")}. A filter is a word, COLUMN > NUMBER (also <, >=, <=) or COLUMN: TEXT; a text with spaces is quoted. Columns: ${columns.join(", ")}.`;
}

function filterRows(state) {
  const conditions = conditionsOf(state, state.query);
  const rows = [...state.table.tBodies[0].rows];
  let count = 0;
  for (const row of rows) {
    row.hidden = !conditions.every((c) => holds(row, c));
    count += !row.hidden;
  }
  if (state.status) state.status.textContent = explained(state, conditions, count, rows.length);
  showScroll(state.table.closest(".scroll"));
}
