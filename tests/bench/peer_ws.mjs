// peer_ws.mjs - publish/subscribe with npm's `ws`, as its README would have it: each path is a channel, each frame goes
// to every client of the channel, the sender included. One process, no cluster; no compression, or with `deflate` permessage-deflate with its defaults.
// usage: node peer_ws.mjs PORT [deflate]
import { createRequire } from 'node:module';
import http from 'node:http';

const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const { WebSocket, WebSocketServer } = require('ws');

const channels = new Map();

function join(channel, client) {
    let members = channels.get(channel);
    if (members === undefined) {
        members = new Set();
        channels.set(channel, members);
    }
    members.add(client);
    return members;
}

function leave(channel, members, client) {
    members.delete(client);
    if (members.size === 0) {
        channels.delete(channel);
    }
}

const sockets = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: process.argv[3] === 'deflate' });
const server = http.createServer((request, response) => {
    response.writeHead(404);
    response.end();
});

server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (client) => {
        const channel = request.url;
        const members = join(channel, client);

        client.on('message', (data, binary) => {
            for (const other of members) {
                if (other.readyState === WebSocket.OPEN) {
                    other.send(data, { binary });
                }
            }
        });
        client.on('close', () => leave(channel, members, client));
        client.on('error', () => client.terminate());
    });
});

server.listen(Number(process.argv[2]), '127.0.0.1');
