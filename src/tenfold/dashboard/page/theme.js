// Runs before the first paint: the colours a person chose, and a mark that scripts run.
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("tenfold-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* storage is off: as the system */ }
