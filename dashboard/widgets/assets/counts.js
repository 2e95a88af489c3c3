// Show the numbers of what is broken beside the links of the menu. The page sends them with its banner, so that the menu
// itself is not sent with every refresh.
(() => {
  if (window.dashfleetCounts) return;
  window.dashfleetCounts = true;
  setInterval(() => {
    const told = document.querySelector(".df-told");
    if (!told) return;
    for (const link of document.querySelectorAll("[data-testid=stSidebar] .stPageLink a")) {
      // The first page has an empty address.
      const path = link.getAttribute("href").split("/").pop() || "fleet", count = told.dataset[path] ?? "";
      if ((link.dataset.count ?? "") === count) continue;
      if (count) link.dataset.count = count;
      else delete link.dataset.count;
    }
  }, 300);
})();
