// Light or dark theme: the system's setting until the reader chooses one; the choice is stored if storage is allowed.
function currentTheme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function storedTheme(value) {
  try {
    if (value) localStorage.setItem("zobench-theme", value);
    return localStorage.getItem("zobench-theme");
  } catch (error) {
    return null; // browsers often deny storage to pages opened from disk
  }
}

function setUpTheme(redraw) {
  const kept = storedTheme();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  find("theme").addEventListener("click", () => {
    const next = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    storedTheme(next);
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
