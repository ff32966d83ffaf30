// Names, roles, headings, ids and text contrast of a page: a list of what is wrong.
() => {
  const bad = [];
  const name = (e) => (e.getAttribute('aria-label') || e.textContent || '').trim() || (e.labels && e.labels.length && e.labels[0].textContent.trim());
  document.querySelectorAll('button, a[href], select, input, summary').forEach((e) => { if (!name(e)) bad.push('no name: ' + e.outerHTML.slice(0, 90)); });
  document.querySelectorAll('[role=img], [role=group], [role=region]').forEach((e) => { if (!e.getAttribute('aria-label')) bad.push('no label: ' + e.id); });
  document.querySelectorAll('table').forEach((t) => { if ([...t.querySelectorAll('th')].some((h) => !h.scope)) bad.push('th without scope: ' + t.id); });
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  if (new Set(ids).size !== ids.length) bad.push('doubled ids');
  const levels = [...document.querySelectorAll('main h1, main h2, main h3')].map((h) => Number(h.tagName[1]));
  levels.forEach((l, i) => { if (i && l > levels[i - 1] + 1) bad.push('heading jumps to h' + l); });
  if (levels.filter((l) => l === 1).length !== 1) bad.push('not one h1');
  if (!document.documentElement.lang || !document.title || !document.querySelector('main')) bad.push('no lang, title or main');
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, base) => { const a = top.length > 3 ? top[3] : 1; return [0, 1, 2].map((i) => top[i] * a + base[i] * (1 - a)); };
  const back = (e) => { const chain = []; for (let n = e; n; n = n.parentElement) chain.push(rgb(getComputedStyle(n).backgroundColor)); return chain.reverse().reduce((base, c) => over(c, base), [255, 255, 255]); };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let t = texts.nextNode(); t; t = texts.nextNode()) {
    const e = t.parentElement;
    if (!t.data.trim() || !e.checkVisibility() || e.closest('.js-plotly-plot, svg, script, style, .skip, option')) continue;
    const style = getComputedStyle(e), b = back(e), f = over(rgb(style.color), b);
    const [hi, lo] = [light(f), light(b)].sort((x, y) => y - x);
    const ratio = (hi + 0.05) / (lo + 0.05);
    if (ratio < 4.5) bad.push(`contrast ${ratio.toFixed(2)}: ${t.data.trim().slice(0, 40)} <${e.tagName} ${e.className}>`);
  }
  return [...new Set(bad)];
}
