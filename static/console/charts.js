// Draws the figures of a page as charts. The numbers stand in a table that stays for screen readers
// and for readers without JavaScript; the colours come from the theme in use.
(() => {
  "use strict";

  const language = document.documentElement.lang;
  const hour = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
  const drawn = new Map();

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function draw(figure) {
    const rows = [...figure.querySelectorAll("tbody tr")];
    const labels = rows.map((row) => hour.format(new Date(row.querySelector("time").dateTime)));
    const values = rows.map((row) => Number(row.querySelector("td").textContent.replace(/\D/g, "")));
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    figure.append(canvas);
    figure.classList.add("is-drawn");
    const text = colour("--console-chart-text");
    const chart = new Chart(canvas, {
      type: "bar",
      data: {
        labels,
        datasets: [{
          label: figure.dataset.series,
          data: values,
          backgroundColor: colour("--console-chart-bar"),
          borderRadius: 3,
          maxBarThickness: 28,
        }],
      },
      options: {
        animation: false,
        maintainAspectRatio: false,
        plugins: { legend: { display: false } },
        scales: {
          x: { grid: { display: false }, ticks: { color: text, maxRotation: 0, autoSkipPadding: 12 } },
          y: {
            beginAtZero: true,
            suggestedMax: 4,
            border: { display: false },
            grid: { color: colour("--console-chart-grid") },
            ticks: { color: text, precision: 0, maxTicksLimit: 5 },
          },
        },
      },
    });
    drawn.set(figure, chart);
  }

  function drawAll(root) {
    for (const [figure, chart] of drawn) {
      if (!figure.isConnected) {
        chart.destroy();
        drawn.delete(figure);
      }
    }
    root.querySelectorAll("[data-chart]").forEach((figure) => { if (!drawn.has(figure)) draw(figure); });
  }

  function redraw() {
    for (const [figure, chart] of drawn) {
      chart.destroy();
      figure.querySelector("canvas")?.remove();
    }
    drawn.clear();
    drawAll(document);
  }

  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  document.addEventListener("htmx:load", () => drawAll(document));
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
  drawAll(document);
})();
