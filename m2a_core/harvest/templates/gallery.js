{
  const facts = JSON.parse(document.getElementById('facts').textContent);
  const key = `m2a-harvest-${facts.harvest}`;
  const served = location.protocol.startsWith('http');
  const fits = name => name.length <= 64 && /^[\p{L}\p{N}](?:[\p{L}\p{N}_ -]*[\p{L}\p{N}_])?$/u.test(name);
  const state = document.getElementById('state');
  const dialog = document.getElementById('look');
  let choices = {clusters: {}, objects: {}};
  let looked = null;

  const say = (text, bad = false) => { state.textContent = text; state.classList.toggle('bad', bad); };
  const complete = choice => choice.kind === 'skip' || (choice.kind && fits(choice.name));
  const named = table => Object.fromEntries(Object.entries(table).filter(([, choice]) => complete(choice)));
  const unfinished = () => ['clusters', 'objects'].reduce(
    (sum, what) => sum + Object.values(choices[what]).filter(choice => !complete(choice)).length, 0);

  const show = () => {
    for (const article of document.querySelectorAll('.cluster')) {
      const choice = choices.clusters[article.dataset.cluster] ?? {name: '', kind: ''};
      const [kind, name] = [article.querySelector('[data-kind]'), article.querySelector('[data-name]')];
      kind.value = choice.kind;
      if (document.activeElement !== name) name.value = choice.name;
      name.setCustomValidity(choice.name && !fits(choice.name) ? 'letters, digits, spaces, _ and -' : '');
      article.classList.toggle('done', Boolean(complete(choice)));
      article.classList.toggle('open', Boolean((choice.kind || choice.name) && !complete(choice)));
    }
    for (const thing of document.querySelectorAll('.thing')) {
      const choice = choices.objects[thing.dataset.object];
      thing.querySelector('[data-said]').textContent = !choice ? '' : choice.kind === 'skip' ? 'not this' : choice.name;
      thing.classList.toggle('out', choice?.kind === 'skip');
    }
    const names = new Set(['clusters', 'objects'].flatMap(what => Object.values(choices[what]).map(c => c.name)));
    document.getElementById('names').replaceChildren(...[...names].filter(Boolean).sort().map(name => {
      const option = document.createElement('option');
      option.value = name;
      return option;
    }));
  };

  const summary = () => {
    const [clusters, objects] = [Object.keys(named(choices.clusters)).length, Object.keys(named(choices.objects)).length];
    const open = unfinished();
    const counted = (count, what) => `${count} ${what}${count === 1 ? '' : 's'}`;
    say(`${counted(clusters, 'cluster')} and ${counted(objects, 'single object')} decided` +
      (open ? `; ${open} ${open === 1 ? 'lacks' : 'lack'} a name or a kind and ${open === 1 ? 'is' : 'are'} not saved` : ''),
      open > 0);
  };

  const changed = () => {
    try { localStorage.setItem(key, JSON.stringify(choices)); } catch { /* a browser that keeps nothing */ }
    show();
    summary();
  };

  const choose = (what, of, change) => {
    const choice = {name: '', kind: '', ...choices[what][of], ...change};
    choice.name = choice.kind === 'skip' ? '' : choice.name.trim();
    if (choice.kind === 'false_alarm' && !choice.name) choice.name = 'false alarm';
    if (choice.kind || choice.name) choices[what][of] = choice; else delete choices[what][of];
    changed();
  };

  const take = content => {
    if (content?.format !== facts.format || content.harvest !== facts.harvest) {
      say('These choices are of another harvest.', true);
      return;
    }
    choices = {clusters: {...content.clusters}, objects: {...content.objects}};
    changed();
  };

  const text = () => JSON.stringify(
    {...facts, clusters: named(choices.clusters), objects: named(choices.objects)}, null, 2) + '\n';

  const download = () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text()], {type: 'application/json'}));
    link.download = 'choices.json';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  document.getElementById('save').addEventListener('click', async () => {
    if (!served) { download(); summary(); return; }
    const answer = await fetch('choices.json', {
      method: 'PUT', headers: {'Content-Type': 'application/json'}, body: text()}).catch(() => null);
    if (answer?.ok) say('Saved choices.json in the harvest\'s folder.');
    else say(answer ? await answer.text() : 'The server is gone: start m2a harvest serve again.', true);
  });
  document.getElementById('load').addEventListener('change', async event => {
    const [file] = event.target.files;
    try { if (file) take(JSON.parse(await file.text())); } catch { say('That is no choices.json.', true); }
    event.target.value = '';
  });
  for (const article of document.querySelectorAll('.cluster')) {
    const of = article.dataset.cluster;
    article.querySelector('[data-kind]').addEventListener('change', e => choose('clusters', of, {kind: e.target.value}));
    article.querySelector('[data-name]').addEventListener('input', e => choose('clusters', of, {name: e.target.value}));
  }
  for (const more of document.querySelectorAll('[data-more]')) {
    more.addEventListener('click', () => {
      for (const item of more.previousElementSibling.querySelectorAll('[hidden]')) item.hidden = false;
      more.remove();
    });
  }

  const [lookKind, lookName] = [dialog.querySelector('[data-kind]'), dialog.querySelector('[data-name]')];
  for (const thing of document.querySelectorAll('.thing')) {
    thing.addEventListener('click', () => {
      looked = thing;
      const image = thing.querySelector('img');
      const cluster = Number(thing.dataset.cluster);
      document.getElementById('look-picture').src = image.src;
      document.getElementById('look-picture').alt = image.alt;
      document.getElementById('look-title').textContent = cluster < 0 ? 'In no cluster' : `In cluster ${cluster}`;
      document.getElementById('look-hint').textContent = `Record ${thing.dataset.object}`;
      document.getElementById('look-facts').replaceChildren(...JSON.parse(thing.dataset.facts).flatMap(([name, value]) => {
        const [dt, dd] = [document.createElement('dt'), document.createElement('dd')];
        dt.textContent = name;
        dd.textContent = value;
        return [dt, dd];
      }));
      const choice = choices.objects[thing.dataset.object] ?? {name: '', kind: ''};
      [lookKind.value, lookName.value] = [choice.kind, choice.name];
      dialog.showModal();
    });
  }
  lookKind.addEventListener('change', () => {
    choose('objects', looked.dataset.object, {kind: lookKind.value});
    lookName.value = choices.objects[looked.dataset.object]?.name ?? '';
  });
  lookName.addEventListener('input', () => choose('objects', looked.dataset.object, {name: lookName.value}));

  try { choices = {...choices, ...JSON.parse(localStorage.getItem(key))}; } catch { /* nothing kept */ }
  if (served) {
    fetch('choices.json').then(answer => answer.ok ? answer.json() : null).then(content => content && take(content))
      .catch(() => {});
  }
  show();
  summary();
}
