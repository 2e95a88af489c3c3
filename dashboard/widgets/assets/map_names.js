// Keep the machines' names for map.js, which looks them up when a tile is hovered or focused.
export default function ({ data, parentElement }) {
  parentElement.querySelector(".df-map-names").tiles = data;
  document.querySelector(".df-map")?.named?.();
}
