// Sets up the page after the document, including plotly as its last element, was loaded.
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
