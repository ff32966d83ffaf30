// Elements are created from text only: no string of the data is ever parsed as HTML.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.map((c) => (c instanceof Node ? c : document.createTextNode(String(c)))));
  return node;
}

function find(id) { return document.getElementById(id); }

function choose(select, labels, values = labels) {
  select.replaceChildren(...labels.map((text, i) => make("option", { value: values[i] }, text)));
}

function makeTable(id, name, columns, lines) {
  const head = make("tr", {}, ...columns.map((c) =>
    make("th", { scope: "col", "data-key": c.name, class: c.num ? "num" : null }, c.name)));
  const body = lines.map((line) => make("tr", {}, ...line.map((cell, i) => {
    const c = columns[i];
    const value = cell !== null && typeof cell === "object" && !(cell instanceof Node) ? cell : { text: cell };
    return make(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: [c.num ? "num" : "", value.style || ""].join(" ").trim() || null,
      "data-sort": value.sort === undefined ? null : value.sort, title: value.title }, value.text === null || value.text === undefined ? "–" : value.text);
  })));
  const table = make("table", { id, "data-name": name }, make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, table);
}
