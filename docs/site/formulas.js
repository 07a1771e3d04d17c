// Renders what pymdownx.arithmatex has marked as \( … \) or \[ … \]. A formula that KaTeX cannot read stays as it is written, in red.
for (const element of document.querySelectorAll(".arithmatex")) {
  katex.render(element.textContent.trim().slice(2, -2), element, {displayMode: element.tagName === "DIV", throwOnError: false});
}
