// A service of somebody who has never seen mesh_refresh: it refreshes logins at Mesh, and keeps them in memory.
// Right as it is. Each flag switches on one fault that such services have; `--weather` lets replies get lost.
//
//   node service.mjs [--drop-access] [--drop-trade] [--swap] [--forget] [--erase] [--first-only] [--twice] [--retry]
//
// At its end it prints what the ledger of `mesh-refresh sandbox` says of its own logins.

const flags = new Set(process.argv.slice(2));
const base = process.env.MESH_BASE_URL;
const keys = { "x-client-id": process.env.MESH_CLIENT_ID, "x-client-secret": process.env.MESH_CLIENT_SECRET };

// The sandbox: logins, weather, and what it has seen.

async function sandbox(method, path, body) {
  const reply = await fetch(`${base}/sandbox/${path}`, { method, body: body && JSON.stringify(body) });
  const said = await reply.json();
  if (!reply.ok) throw new Error(`sandbox: ${said.error}`);
  return said;
}

const WANTED = [
  { broker: "coinbase", named: true },
  { broker: "etoro", accounts: 2, sharing: "PAIR_EACH", repliesWith: "ASKED" },
  { broker: "binanceInternational", accounts: 2, sharing: "PAIR_EACH" },
  { broker: "weBull", named: true },
  { broker: "tdAmeritrade", named: true },
];

// What is kept: a row for each account of each login.

const rows = [];

function rowOf(login, accountId) {
  return rows.find((row) => row.login === login && row.accountId === accountId);
}

async function connect(wanted) {
  const { login, accessTokenPayload, tradeToken } = await sandbox("POST", "logins", wanted);
  for (const { account, accessToken, refreshToken } of accessTokenPayload.accountTokens) {
    const row = { login, broker: wanted.broker, accountId: account.accountId, accessToken, refreshToken };
    if (tradeToken && !flags.has("--drop-trade")) row.tradeToken = tradeToken;
    rows.push(row);
  }
  return login;
}

// One refresh. An answer that did not come may have spent the token: it is not asked for again.

async function post(row) {
  const body = { type: row.broker, refreshToken: row.refreshToken };
  if (row.broker === "weBull") Object.assign(body, { accessToken: row.accessToken, tradeToken: row.tradeToken });
  return fetch(`${base}/api/v1/token/refresh`, {
    method: "POST",
    headers: { ...keys, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function refresh(row) {
  const sent = row.refreshToken;
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    let reply;
    try {
      if (flags.has("--twice")) await sandbox("POST", "faults", { fault: "delay", times: 2, login: row.login });
      const posted = [post(row), ...(flags.has("--twice") ? [post(row)] : [])];
      reply = (await Promise.all(posted)).find((one) => one.ok) ?? (await posted[0]);
    } catch {
      if (flags.has("--retry")) continue;
      row.unknown = true;
      return;
    }
    if (reply.status === 429) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(reply.headers.get("retry-after") ?? 0)));
      continue;
    }
    const { content } = await reply.json();
    if (!reply.ok || content?.status !== "succeeded") {
      row.refused = true;
      return;
    }
    save(row, sent, content.brokerAccountTokens);
    return;
  }
}

function save(asked, sent, entries) {
  const listed = flags.has("--first-only") ? entries.slice(0, 1) : entries;
  for (const { account, accessToken, refreshToken } of listed) {
    const row = account ? rowOf(asked.login, account.accountId) : asked;
    if (!flags.has("--drop-access")) row.accessToken = accessToken;
    else delete row.accessToken;
    if (flags.has("--forget")) continue;
    if (refreshToken) row.refreshToken = refreshToken;
    else if (flags.has("--erase")) delete row.refreshToken;
  }
}

// Every login once in a round, its accounts one after the other; a row whose fate is not known is left alone.

async function round(logins) {
  await Promise.all(
    logins.map(async (login) => {
      for (const row of rows.filter((one) => one.login === login)) {
        if (!row.unknown && !row.refused && row.refreshToken) await refresh(row);
      }
    }),
  );
}

function swap(login) {
  const [one, other] = rows.filter((row) => row.login === login);
  for (const name of ["refreshToken", "accessToken"]) [one[name], other[name]] = [other[name], one[name]];
}

function kept({ refreshToken, accessToken, tradeToken, accountId }) {
  const named = { refreshToken, accessToken, tradeToken, accountId };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

const before = await sandbox("GET", "ledger");
const logins = [];
for (const wanted of WANTED) logins.push(await connect(wanted));
await sandbox("POST", "faults", { fault: "throttle with seconds", login: logins[0] });
if (flags.has("--weather")) await sandbox("POST", "faults", { fault: "cut after rotation", login: logins[1] });
await round(logins);
if (!flags.has("--forget")) await round(logins);
if (flags.has("--swap")) swap(logins[1]);

const { lost } = await sandbox("POST", "lost", { tokens: rows.map(kept) });
const after = await sandbox("GET", "ledger");
const own = (item) => logins.includes(item.login);
const place = ({ login, account }) =>
  1 + rows.filter((row) => row.login === login).findIndex((row) => row.accountId === account);
console.log(
  JSON.stringify({
    lost: lost.filter(own).map((item) => [item.broker, place(item), item.reason]),
    reuses: [...new Set(after.reuses.filter(own).map(({ broker }) => broker))].sort(),
    sentTwice: after.sentTwice - before.sentTwice,
  }),
);
