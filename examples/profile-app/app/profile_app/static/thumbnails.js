// SPDX-License-Identifier: Apache-2.0
// Shows each thumbnail as soon as the function has made it: asks often at first, then less, and gives up after a minute.

async function show(image) {
  let waitMs = 60;
  for (const ends = Date.now() + 60_000; Date.now() < ends; waitMs = Math.min(waitMs * 1.5, 3000)) {
    const reply = await fetch(image.dataset.thumbnail);
    if (reply.ok) {
      image.src = image.dataset.thumbnail;
      image.dataset.shown = "thumbnail";
      return;
    }
    await new Promise((again) => setTimeout(again, waitMs));
  }
}

for (const image of document.querySelectorAll("img[data-thumbnail]")) show(image);
