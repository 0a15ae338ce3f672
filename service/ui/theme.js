// Light or dark: as the system says, until the button says otherwise. Runs before anything is painted.
"use strict";
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const NAMES = { dark: "Use dark theme", light: "Use light theme", system: "Use the system's theme" };

  /** Where the button leads: to the other theme, and from the system's own, when it was chosen, to none chosen. */
  function next() {
    const own = system.matches ? "dark" : "light";
    if (root.dataset.theme === own) return "system";
    return (root.dataset.theme ?? own) === "dark" ? "light" : "dark";
  }

  function use(theme) {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  function keep(theme) {
    try {
      if (theme === "system") localStorage.removeItem("theme");
      else localStorage.setItem("theme", theme);
    } catch {
      // holds until the page is left
    }
  }

  const chosen = (() => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // a browser that keeps nothing
    }
  })();
  if (chosen === "dark" || chosen === "light") use(chosen);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => button.replaceChildren(NAMES[next()]);
    button.addEventListener("click", () => {
      const theme = next();
      use(theme);
      keep(theme);
      show();
    });
    system.addEventListener("change", show);
    show();
  });
}
