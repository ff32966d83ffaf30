// Panels that close with Escape or a click elsewhere, and scrolling parts that show that they scroll.
function openPanels() { return [...document.querySelectorAll(".tools details[open]")]; }

function setUpPanels() {
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" ? openPanels() : [];
    if (!open.length) return;
    event.preventDefault(); // only the panel closes, not a dialog around it
    for (const panel of open) {
      panel.open = false;
      panel.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const panel of openPanels()) if (!panel.contains(event.target)) panel.open = false;
  });
  document.querySelectorAll(".scroll, figure:has(> .lines.cd)").forEach(watchScroll);
  watchScroll(document.querySelector("nav"));
}

function watchScroll(box) {
  if (!box || box.dataset.watched) return;
  box.dataset.watched = "1";
  box.addEventListener("scroll", () => showScroll(box), { passive: true });
  new ResizeObserver(() => showScroll(box)).observe(box);
  showScroll(box);
}

// which ends of a scrolling part are hidden: faded by the style sheet, and said below a table
function showScroll(box) {
  if (!box || !box.dataset.watched) return;
  const below = box.scrollHeight - box.clientHeight - box.scrollTop > 4;
  const right = box.scrollWidth - box.clientWidth - box.scrollLeft > 4;
  box.classList.toggle("more-below", below);
  box.classList.toggle("more-right", right);
  if (box.tagName === "NAV") return;
  let hint = box.nextElementSibling;
  const wanted = [below ? "more lines below ↓" : "", right ? `more ${box.tagName === "FIGURE" ? "" : "columns "}→` : ""].filter(Boolean).join(" · ");
  if (!hint || !hint.classList.contains("scroll-hint")) {
    if (!wanted) return;
    hint = make("p", { class: "scroll-hint", "aria-hidden": "true" });
    box.after(hint);
  }
  if (hint.textContent !== wanted) hint.textContent = wanted;
}
