// The login page: the code of a link is in the part of the address that browsers do not send.

const message = document.getElementById("message");

async function logIn(proof) {
  const response = await fetch("/api/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(proof),
  });
  if (response.ok) {
    location.replace("/");
    return;
  }
  const answer = await response.json().catch(() => ({}));
  message.textContent = `Cannot log in: ${answer.error ?? `status ${response.status}`}`;
  message.classList.add("bad");
}

const code = location.hash.slice(1);
if (code) {
  history.replaceState(null, "", "/login");
  logIn({ code });
}
// A link that is opened in a tab that shows this page changes the address alone.
addEventListener("hashchange", () => {
  const next = location.hash.slice(1);
  history.replaceState(null, "", "/login");
  if (next) logIn({ code: next });
});

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  logIn({ token: field.value });
  field.value = "";
});
