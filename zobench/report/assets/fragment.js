// The reader's choices, stored in the URL fragment, so that a link shows the same view.
const STATE = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function remembered(key, otherwise) { return STATE.has(key) ? STATE.get(key) : otherwise; }

function remember(key, value, otherwise = "") {
  if (String(value) === String(otherwise)) STATE.delete(key);
  else STATE.set(key, value);
  const text = STATE.toString();
  history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
}

// headings of sections and of their parts, each with an id of its own and a link to it
function setUpAnchors() {
  for (const heading of document.querySelectorAll("main section h2, main section h3")) {
    const section = heading.closest("section");
    const slug = heading.textContent.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
    let id = section.querySelector("h1, h2") === heading ? section.id : `${section.id}-${slug}`;
    if (id !== section.id) {
      for (let n = 2; find(id); n++) id = `${section.id}-${slug}-${n}`;
      heading.id = id;
    }
    const link = make("a", { class: "anchor", href: `#at=${encodeURIComponent(id)}`, "aria-label": `Link to ${heading.textContent}` }, "#");
    link.addEventListener("click", (event) => { event.preventDefault(); goTo(id); });
    heading.append(" ", link);
  }
}

// following a link would replace the fragment and lose the choices stored in it
function goTo(id) {
  find(id).scrollIntoView({ behavior: "instant" });
  remember("at", id, "overview");
}

// stay at a section while charts above it get their size, until the reader scrolls
function landOn(id) {
  const land = () => { if (find(id)) find(id).scrollIntoView({ behavior: "instant" }); };
  const observer = new ResizeObserver(land);
  const leave = () => observer.disconnect();
  for (const name of ["wheel", "touchstart", "keydown", "pointerdown"]) addEventListener(name, leave, { once: true, passive: true });
  setTimeout(leave, 3000);
  land();
  observer.observe(find("main"));
}

function setUpSections() {
  setUpAnchors();
  const links = [...document.querySelectorAll("nav a")];
  for (const link of links) {
    if (!link.hash) continue;
    link.addEventListener("click", (event) => { event.preventDefault(); goTo(link.hash.slice(1)); });
  }
  const watch = new IntersectionObserver((seen) => {
    for (const entry of seen) {
      if (!entry.isIntersecting) continue;
      for (const link of links) {
        const current = link.getAttribute("href") === "#" + entry.target.id;
        if (current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
        if (current) link.parentElement.scrollTo({ left: link.offsetLeft - link.parentElement.offsetLeft - 40 });
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" }); // current is the section that crosses this band in the upper part of the window
  document.querySelectorAll("main > section").forEach((s) => watch.observe(s));
  const plain = location.hash.includes("=") ? "" : decodeURIComponent(location.hash.slice(1));
  const at = remembered("at", plain);
  if (at && find(at)) landOn(at);
  // another link to this page, pasted into the address: the choices in it are read from the start
  addEventListener("hashchange", () => { if (location.hash.includes("=")) location.reload(); });
}
