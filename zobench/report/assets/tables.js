// Tables: sort by a click on a heading, select columns, save the visible part as CSV.
// a column that says the same everywhere is not shown until the reader selects it
const ONE_TASK = (DATA.blocks || []).length === 1;

function setUpTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  for (const head of heads) head.dataset.key ||= head.textContent.trim().toLowerCase();
  const state = { table, heads, hidden: new Set(), query: "" };
  heads.forEach((head, i) => {
    fitHeading(head);
    if (head.hasAttribute("data-hidden") || (ONE_TASK && head.dataset.key.toLowerCase() === "task")) state.hidden.add(i);
    if (head.hasAttribute("data-nosort")) return;
    const button = make("button", { type: "button", on: { click: () => sortBy(state, i) } }, ...head.childNodes);
    head.replaceChildren(button);
  });
  hideEmpty(state);
  restoreTable(state);
  showColumns(state);
  if (table.dataset.name) setUpTools(state, toolsOf(table));
  filterRows(state);
  watchScroll(table.closest(".scroll"));
}

// the widths that a heading of numbers needs: for its longest word, and for two lines; a unit stays with its word
function fitHeading(head) {
  if (!head.classList.contains("num")) return;
  const text = head.textContent.trim(), unit = text.match(/\S+, \S{1,3}$/);
  if (unit) head.replaceChildren(text.slice(0, unit.index), make("span", { class: "unit" }, unit[0]));
  const words = text.replace(/, (?=\S{1,3}$)/, ",\u00a0").split(" ").map((word) => word.length);
  const all = words.reduce((sum, n) => sum + n + 1, -1), longest = Math.max(...words);
  let first = -1, two = all;
  for (const n of words) { first += n + 1; two = Math.min(two, Math.max(first, all - first - 1)); }
  head.style.setProperty("--word", `${longest}ch`);
  head.style.setProperty("--two", `${Math.max(two, longest)}ch`);
}

// a column of numbers without a single value is not shown until the reader selects it
function hideEmpty(state) {
  const rows = [...state.table.tBodies[0].rows];
  state.heads.forEach((head, i) => {
    if (rows.length && head.classList.contains("num") && rows.every((row) => !row.cells[i] || ["", "–"].includes(row.cells[i].textContent.trim()))) state.hidden.add(i);
  });
}

function toolsOf(table) {
  const given = document.querySelector(`.tools[data-for="${table.id}"]`);
  if (given) return given;
  const tools = make("div", { class: "tools", "data-for": table.id });
  (table.closest(".scroll") || table).before(tools);
  return tools;
}

function cellValue(row, i) {
  const cell = row.cells[i];
  const text = cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim().replace(/^−/, "-");
  if (text === "" || text === "–") return null;
  const number = Number(text);
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function sortBy(state, i, direction) {
  const head = state.heads[i];
  const next = direction || (head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
  state.heads.forEach((h) => h.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", next);
  const sign = next === "ascending" ? 1 : -1;
  const rows = [...state.table.tBodies[0].rows].map((row, order) => ({ row, order, value: cellValue(row, i) }));
  rows.sort((a, b) => {
    if (a.value === null || b.value === null) return (a.value === null) - (b.value === null) || a.order - b.order;
    if (typeof a.value !== typeof b.value) return typeof a.value === "number" ? -1 : 1;
    return a.value < b.value ? -sign : a.value > b.value ? sign : a.order - b.order;
  });
  state.table.tBodies[0].append(...rows.map((r) => r.row));
  remember("sort-" + state.table.id, `${head.dataset.key}:${next}`);
}

function restoreTable(state) {
  const sort = remembered("sort-" + state.table.id, "");
  const cut = sort.lastIndexOf(":");
  const i = state.heads.findIndex((h) => h.dataset.key === sort.slice(0, cut));
  if (i >= 0) sortBy(state, i, sort.slice(cut + 1) === "descending" ? "descending" : "ascending");
  state.query = remembered("find-" + state.table.id, "");
  if (STATE.has("hide-" + state.table.id)) {
    const names = new Set(remembered("hide-" + state.table.id, "").split("|"));
    state.hidden = new Set(state.heads.flatMap((h, j) => (names.has(h.dataset.key) ? [j] : [])));
  }
}

function showColumns(state) {
  for (const row of state.table.rows) {
    [...row.cells].forEach((cell, i) => { cell.hidden = state.hidden.has(i); });
  }
  showScroll(state.table.closest(".scroll"));
}

function setUpTools(state, tools) {
  const name = state.table.dataset.name;
  const search = make("input", { type: "search", placeholder: "Search, or column > value", "aria-label": `Search or filter ${name}`,
    title: "Shows lines that contain every word. A column's name with <, >, <=, >= and a number, or with : and a text, filters by that column: accuracy > 80 row: mezo" });
  search.value = state.query;
  search.addEventListener("input", () => {
    state.query = search.value;
    filterRows(state);
    remember("find-" + state.table.id, state.query);
  });
  const boxes = state.heads.map((head, i) => {
    const box = make("input", { type: "checkbox" });
    box.checked = !state.hidden.has(i);
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(i); else state.hidden.add(i);
      showColumns(state);
      remember("hide-" + state.table.id, [...state.hidden].map((j) => state.heads[j].dataset.key).join("|"), null);
    });
    return make("label", {}, box, head.textContent);
  });
  state.status = make("span", { class: "dim", role: "status" });
  const save = make("button", { type: "button", "aria-label": `Save ${name} as CSV`, on: { click: () => exportTable(state) } }, "CSV");
  tools.append(search, make("details", {}, make("summary", {}, "Columns"), make("div", {}, ...boxes)), copyPanel(state), save, state.status);
}

function csvField(text) {
  // a spreadsheet would execute a text that begins with = + - @ as a formula, unless it is a number
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function cellText(cell) {
  const { text, sort } = cell.dataset;
  return text !== undefined ? text : sort !== undefined ? sort : cell.textContent.trim().replace(/\s+/g, " ").replace(/^−/, "-");
}

// the visible columns and lines as texts, in the order on the screen
function shownCells(state) {
  const columns = state.heads.map((_, i) => i).filter((i) => !state.hidden.has(i));
  const rows = [...state.table.tBodies[0].rows].filter((row) => !row.hidden);
  return columns.map((i) => ({
    name: state.heads[i].dataset.key,
    values: rows.map(({ cells }) => cellText(cells[i])),
  }));
}

function csvOf(state) {
  const columns = shownCells(state);
  const lines = [columns.map((c) => c.name), ...(columns.length ? columns[0].values.map((_, r) => columns.map((c) => c.values[r])) : [])];
  return lines.map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

function exportTable(state) {
  const link = make("a", { download: `zobench-${state.table.dataset.name}.csv` });
  link.href = URL.createObjectURL(new Blob([csvOf(state)], { type: "text/csv" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000); // the download must have started before the URL is revoked
}
