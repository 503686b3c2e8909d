const open = () => {
  const dialog = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  dialog.showModal();
  dialog.querySelector('video')?.play().catch(() => {});
};
for (const dialog of document.querySelectorAll('dialog')) {
  dialog.addEventListener('close', () => {
    dialog.querySelector('video')?.pause();
    history.replaceState(null, '', location.pathname + location.search);
  });
  dialog.addEventListener('click', event => { if (event.target === dialog) dialog.close(); });
  dialog.querySelector('button').addEventListener('click', () => dialog.close());
}
addEventListener('hashchange', open);
open();
