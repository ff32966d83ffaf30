// Sets up the page after the document, including plotly as its last element, was loaded.
document.addEventListener("DOMContentLoaded", () => {
  setUpTheme(redrawAll);
  document.querySelectorAll("table[id]").forEach(setUpTable);
  if (find("c-plot")) {
    setUpCurves();
    setUpProfiles();
    setUpPareto();
    setUpHeads();
    setUpExamples();
    setUpTuning();
    setUpRuns();
    setUpCards();
    setUpPrint();
  }
  setUpPanels();
  setUpSections(); // last: what is above a section must have its height before the page goes there
});
