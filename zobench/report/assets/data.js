"use strict";
// The page's data, parsed once. All its texts are untrusted.
const DATA = JSON.parse(document.getElementById("data").textContent);

// x with so many decimals; a tie is rounded to the even digit, as in the tables that are not made by scripts
function fixed(x, digits) {
  const scaled = x * 10 ** digits;
  if (Math.abs(scaled % 1) !== 0.5 || !Number.isInteger(x * 2 ** 20)) return x.toFixed(digits);
  return ((2 * Math.round(scaled / 2)) / 10 ** digits).toFixed(digits);
}

// A number in the leaderboard's display units.
function shown(value, signed = false) {
  if (value === null || value === undefined) return "–";
  const x = Math.abs(value) > 1e-12 ? value * DATA.board.factor : 0; // what sums leave of equal numbers
  const size = Math.abs(x);
  const small = !DATA.board.one && size > 0 && size < 0.1;
  const text = small ? (size >= 1e-4 ? size.toPrecision(2) : Number(size.toPrecision(2)).toExponential().replace("-", "−")) : fixed(size, DATA.board.one || size >= 100 ? 1 : 3);
  return (x < 0 && /[1-9]/.test(text) ? "−" : signed ? "+" : "") + text;
}

function compact(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return (value / 1e9).toPrecision(3) + "G";
  if (size >= 1e6) return (value / 1e6).toPrecision(3) + "M";
  if (size >= 1e4) return (value / 1e3).toPrecision(3) + "k";
  return Number.isInteger(value) ? String(value) : value.toPrecision(3);
}
