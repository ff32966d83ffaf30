// The method of a row: its card, how to cite it, and where else on the page the row is shown.
function setUpCards() {
  for (const button of document.querySelectorAll(".row-link")) button.addEventListener("click", () => openCard(Number(button.dataset.row)));
  find("card").addEventListener("close", () => remember("card", ""));
  const at = remembered("card", "");
  if (at !== "" && DATA.rows[Number(at)]) openCard(Number(at));
}

function openCard(i) {
  const about = DATA.methods[i], row = DATA.rows[i];
  const close = make("button", { type: "button", class: "plain close", "aria-label": "Close", on: { click: () => find("card").close() } }, "×");
  find("card-body").replaceChildren(close, make("h2", { id: "card-title" }, about && about.title ? about.title : row.name), ...(about ? cardParts(about) : [make("p", {}, "The runs of this row use several methods.")]), elsewhere(i));
  find("card").showModal();
  find("card").scrollTop = 0;
  remember("card", i);
}

function cardParts(about) {
  const papers = (about.papers || []).map((id) => make("a", { href: `https://arxiv.org/abs/${id}`, rel: "noreferrer" }, `arXiv ${id}`));
  const facts = [["method", about.name], ["order", about.order], ["revision", about.revision], ["source", about.source]].filter(([, value]) => value);
  const status = make("span", { class: "dim", role: "status" });
  const copy = make("button", { type: "button", class: "plain", on: { click: async () => { status.textContent = (await copyText(about.cite)) ? "Copied." : "The browser denied access to the clipboard."; } } }, "Copy BibTeX");
  return [
    make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    ...(papers.length ? [make("p", {}, ...papers.flatMap((link, j) => (j ? [", ", link] : [link])))] : []),
    ...(about.formula ? [make("h3", {}, "Update"), make("pre", { tabindex: 0 }, about.formula)] : [make("p", { class: "small" }, `These runs were made before the card of a method was recorded; “zobench list methods --details” prints it.`)]),
    make("h3", {}, "How to cite"), make("pre", { tabindex: 0 }, about.cite), make("p", {}, copy, " ", status),
  ];
}

// the same row in other sections
function elsewhere(i) {
  const go = (text, id, act) => make("button", { type: "button", class: "plain", on: { click: () => { find("card").close(); act(); goTo(id); } } }, text);
  const set = (id, value) => { find(id).value = value; find(id).dispatchEvent(new Event("input")); };
  const buttons = [go(i ? "Compare with the first row" : "Compare with the second row", "pairs", () => { set("h-a", i); set("h-b", i ? 0 : Math.min(1, DATA.rows.length - 1)); })];
  if (find("e-row")) buttons.push(go("Its examples", "examples", () => set("e-row", i)));
  const search = document.querySelector("#runs input[type=search]");
  if (search) buttons.push(go("Its runs", "runs", () => { search.value = `row: "${DATA.rows[i].name.replaceAll('"', "")}"`; search.dispatchEvent(new Event("input")); }));
  return make("div", { class: "controls" }, ...buttons);
}
