// The reader's choices, stored in the URL fragment, so that a link shows the same view.
const STATE = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function remembered(key, otherwise) { return STATE.has(key) ? STATE.get(key) : otherwise; }

function remember(key, value, otherwise = "") {
  if (String(value) === String(otherwise)) STATE.delete(key);
  else STATE.set(key, value);
  const text = STATE.toString();
  history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
}

function setUpSections() {
  const links = [...document.querySelectorAll("nav a")];
  for (const link of links) {
    link.addEventListener("click", (event) => {
      event.preventDefault(); // following the link would replace the fragment and lose the choices stored in it
      const id = link.getAttribute("href").slice(1);
      find(id).scrollIntoView();
      remember("at", id, "overview");
    });
  }
  const watch = new IntersectionObserver((seen) => {
    for (const entry of seen) {
      if (!entry.isIntersecting) continue;
      for (const link of links) {
        if (link.getAttribute("href") === "#" + entry.target.id) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" }); // current is the section that crosses this band in the upper part of the window
  document.querySelectorAll("main > section").forEach((s) => watch.observe(s));
  const at = remembered("at", "");
  if (at && find(at)) find(at).scrollIntoView();
}
