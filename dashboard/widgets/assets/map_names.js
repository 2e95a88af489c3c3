// Keeps the machines' names for map.js, which asks for them when somebody looks at a tile.
export default function ({ data, parentElement }) {
  parentElement.querySelector(".df-map-names").tiles = data;
  document.querySelector(".df-map")?.named?.();
}
