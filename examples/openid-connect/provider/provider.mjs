// The OpenID Connect provider of the tests: `node provider.mjs FOLDER`, where FOLDER contains
// node_modules/oidc-provider. Prints its issuer, and ends when its standard input is closed.
//
// It signs a user in at once, as the `as` of the interaction's query says, and takes the consent for
// given. Only with it and the scope offline_access, it gives a refresh token.
// Below /test it does what no real provider does: it counts requests, and signs any claims.

import * as crypto from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const library = join(process.argv[2], 'node_modules/oidc-provider/lib/index.js');
const { Provider, errors } = await import(pathToFileURL(library));

const newKey = (kid) => {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' };
  return { jwk, privateKey, publicKey };
};
const keys = { own: newKey('own'), next: newKey('next'), other: newKey('other') };
/** The keys at the address of the keys, by their ids. */
const published = new Map([['own', 'own']]);

const server = http.createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [keys.own.jwk] },
  cookies: { keys: [crypto.randomBytes(32).toString('hex')] },
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: false },
    registration: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = form;
      },
    },
  },
  claims: { openid: ['sub'] },
  findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  // The applications of the tests are on this machine, and it may be busy.
  fetch: (url, { dispatcher, signal, ...options }) => fetch(url, options),
  // A refresh token is good once. Its second use ends the grant.
  rotateRefreshToken: true,
  loadExistingGrant: async (ctx) => {
    const { client, session } = ctx.oidc;
    const existing = session.grantIdFor(client.clientId);
    if (existing) return provider.Grant.find(existing);
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope('openid offline_access');
    await grant.save();
    return grant;
  },
  renderError: (ctx, out) => {
    ctx.body = JSON.stringify(out);
  },
  ttl: { AccessToken: 3600, Grant: 86400, IdToken: 3600, Interaction: 600, RefreshToken: 86400, Session: 86400 },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.on('backchannel.error', (ctx, error) => console.error(error));

/** What happens to requests of tokens, by client: `hold` or `refuse`. */
const faults = new Map();
const clientOf = (ctx) => Buffer.from(ctx.get('authorization').slice(6), 'base64').toString().split(':')[0];

/** Requests of tokens, by kind of grant and client. */
const counts = {};
const count = (what) => {
  counts[what] = (counts[what] ?? 0) + 1;
};

provider.use(async (ctx, next) => {
  if (ctx.path.startsWith('/interaction/')) {
    const { as, error } = ctx.query;
    const result = error ? { error } : { login: { accountId: as ?? 'ada' }, consent: {} };
    return provider.interactionFinished(ctx.req, ctx.res, result).then(() => {
      ctx.respond = false;
    });
  }
  if (ctx.path === '/test/counts') {
    ctx.body = counts;
    return undefined;
  }
  if (ctx.path === '/test/tokens') {
    counts[`held ${ctx.query.client}`] = 0;
    faults.set(ctx.query.client, ctx.query.fault);
    ctx.body = '';
    return undefined;
  }
  if (ctx.path === '/test/publish') {
    published.set(ctx.query.kid ?? ctx.query.key, ctx.query.key);
    ctx.body = '';
    return undefined;
  }
  if (ctx.path === '/test/sign') {
    // A token with this header and these claims, signed with this key.
    const { header, claims, key } = JSON.parse(ctx.query.token);
    const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    const signature = {
      none: () => Buffer.alloc(0),
      public: () => crypto.createHmac('sha256', keys.own.publicKey.export({ format: 'pem', type: 'spki' })).update(text).digest(),
    }[key] ?? (() => crypto.sign('sha256', Buffer.from(text), keys[key].privateKey));
    ctx.body = `${text}.${signature().toString('base64url')}`;
    return undefined;
  }
  if (ctx.path === '/jwks') {
    ctx.body = { keys: [...published].map(([kid, key]) => ({ ...keys[key].publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' })) };
    return undefined;
  }
  if (ctx.path === '/token') {
    const client = clientOf(ctx);
    while (faults.get(client) === 'hold') {
      counts[`held ${client}`] = 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    if (faults.get(client) === 'refuse') {
      ctx.status = 503;
      return undefined;
    }
  }
  await next();
  if (ctx.path === '/token') {
    count(`${ctx.oidc?.params?.grant_type} ${ctx.oidc?.client?.clientId}`);
  }
  return undefined;
});

server.on('request', provider.callback());
console.log(issuer);
process.stdin.on('end', () => process.exit()).resume();
