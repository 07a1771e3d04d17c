// Renders what pymdownx.arithmatex has marked as \( … \) or \[ … \]. What KaTeX cannot read is shown as it is, in red.
for (const element of document.querySelectorAll(".arithmatex")) {
  const formula = element.textContent.trim().slice(2, -2);
  katex.render(formula, element, {displayMode: element.tagName === "DIV", throwOnError: false});
}
