// Everything in order, once the document (and plotly, its last element) is there.
document.addEventListener("DOMContentLoaded", () => {
  setUpTheme(redrawAll);
  document.querySelectorAll("table[id]").forEach(setUpTable);
  if (find("c-plot")) {
    setUpCurves();
    setUpProfiles();
    setUpPareto();
    setUpHeads();
    setUpTuning();
    setUpRuns();
    setUpSections();
    setUpPrint();
  }
});
