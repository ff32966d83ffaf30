// Copies the visible part of a table as Markdown, LaTeX or CSV, with the headings and values that the page shows.
function headingOf(head) { return head.textContent.trim().replace(/\s+/g, " "); }

function valueOf(cell) {
  if (cell.classList.contains("plot")) return cell.dataset.text || "";
  const parts = [...cell.childNodes].map((node) => (node.textContent.trim() && node.className === "dim" ? `(${node.textContent.trim()})` : node.textContent.trim())).filter(Boolean);
  return parts.join(" ").replace(/\s+/g, " ");
}

function shownTable(state) {
  const columns = state.heads.map((_, i) => i).filter((i) => !state.hidden.has(i));
  const rows = [...state.table.tBodies[0].rows].filter((row) => !row.hidden);
  return {
    heads: columns.map((i) => headingOf(state.heads[i])), right: columns.map((i) => state.heads[i].classList.contains("num")),
    lines: rows.map((row) => columns.map((i) => valueOf(row.cells[i]))),
  };
}

function markdownOf(state) {
  const { heads, right, lines } = shownTable(state);
  const cell = (text) => text.replace(/[\\|`*_<>[\]]/g, "\\$&");
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(heads.map(cell)), line(right.map((r) => (r ? "---:" : "---"))), ...lines.map((l) => line(l.map(cell)))].join("\n") + "\n";
}

const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "±": "$\\pm$", "≥": "$\\ge$", "≤": "$\\le$", "–": "--", "●": "$\\bullet$", "→": "$\\to$", "✓": "$\\checkmark$", "θ": "$\\theta$", "Δ": "$\\Delta$", "‖": "$\\|$" };

function latexText(text) {
  return text.replace(/[\\~^−±≥≤–●→✓θΔ‖]|[&%$#_{}]/gu, (sign) => LATEX[sign] || "\\" + sign);
}

function latexOf(state) {
  const { heads, right, lines } = shownTable(state);
  const line = (cells) => `  ${cells.map(latexText).join(" & ")} \\\\`;
  return ["% needs \\usepackage{booktabs}", `\\begin{tabular}{${right.map((r) => (r ? "r" : "l")).join("")}}`, "  \\toprule", line(heads), "  \\midrule", ...lines.map(line), "  \\bottomrule", "\\end{tabular}"].join("\n") + "\n";
}

function shownCsvOf(state) {
  const { heads, lines } = shownTable(state);
  return [heads, ...lines.map((l) => l.map((t) => t.replace(/^−/, "-")))].map((line) => line.map(csvField).join(",")).join("\n") + "\n";
}

const COPIES = [["Markdown", markdownOf], ["LaTeX", latexOf], ["CSV", shownCsvOf]];

// the clipboard; browsers that deny it to pages opened from disk copy a selection instead
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    const area = make("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    (document.querySelector("dialog[open]") || document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function copyPanel(state) {
  const panel = make("details", {}, make("summary", {}, "Copy"));
  const buttons = COPIES.map(([name, of]) => make("button", { type: "button", "aria-label": `Copy ${state.table.dataset.name} as ${name}`, on: { click: async () => {
    const done = await copyText(of(state));
    state.status.textContent = done ? `Copied ${shownTable(state).lines.length} lines as ${name}.` : "The browser denied access to the clipboard.";
    panel.open = false;
  } } }, name));
  panel.append(make("div", {}, ...buttons));
  return panel;
}
