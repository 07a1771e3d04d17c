// Renders what pymdownx.arithmatex has marked as \( … \) or \[ … \]. What KaTeX cannot read stays as it is written.
for (const element of document.querySelectorAll(".arithmatex")) {
  const formula = element.textContent.trim().slice(2, -2);
  try {
    element.innerHTML = katex.renderToString(formula, {displayMode: element.tagName === "DIV"});
  } catch (error) {
    console.error(error.message);
  }
}
