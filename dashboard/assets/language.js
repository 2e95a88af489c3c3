// The page says in which language it is, and the browser remembers which one somebody chose, for the sign-in too.
(() => {
  const { language, chosen } = window.dashfleet;
  document.documentElement.lang = language;
  if (chosen) document.cookie = `${chosen}=${language}; path=/; max-age=31536000; samesite=lax`;
})();
