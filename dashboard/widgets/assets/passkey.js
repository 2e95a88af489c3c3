// Make or use a passkey: the form asks the server for options and the browser for the passkey, and is then sent with the
// browser's answer. Its password goes with the question only.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const known = (list) => (list ?? []).map((each) => ({ ...each, id: bytes(each.id) }));

async function options(form) {
  const asked = new URLSearchParams(new FormData(form));
  if (asked.has("do")) asked.set("do", "passkey-options");
  const answer = await fetch(form.dataset.options, { method: "POST", body: asked, redirect: "error" });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return { ...told.options, challenge: bytes(told.options.challenge) };
}

async function create(given) {
  const user = { ...given.user, id: bytes(given.user.id) };
  const made = await navigator.credentials.create({
    publicKey: { ...given, user, excludeCredentials: known(given.excludeCredentials) },
  });
  const { clientDataJSON, attestationObject } = made.response;
  return { ...plain(made), response: { clientDataJSON: text(clientDataJSON), attestationObject: text(attestationObject) } };
}

async function get(given) {
  const used = await navigator.credentials.get({
    publicKey: { ...given, allowCredentials: known(given.allowCredentials) },
  });
  const { clientDataJSON, authenticatorData, signature } = used.response;
  const response = {
    clientDataJSON: text(clientDataJSON), authenticatorData: text(authenticatorData), signature: text(signature),
  };
  return { ...plain(used), response };
}

const plain = ({ id, rawId, type }) => ({ id, rawId: text(rawId), type, clientExtensionResults: {} });

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const error = form.querySelector("[role=alert]"), button = form.querySelector("button");
  // Until now a click would have sent the form without a passkey.
  button.disabled = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.hidden = true;
    button.disabled = true;
    try {
      const given = await options(form);
      const answer = await (form.dataset.passkey === "create" ? create(given) : get(given));
      form.elements.credential.value = JSON.stringify(answer);
      form.elements.password?.remove();
      form.submit();
    } catch (problem) {
      // A DOMException names what the browser refused, in words for developers.
      error.textContent = problem instanceof DOMException || !problem.message ? form.dataset.failed : problem.message;
      error.hidden = false;
      button.disabled = false;
    }
  });
}
