/* core/engine_redis_scripts.c - what runs in the server, in one piece each.
 *
 * A channel's meta hash: e epoch, o offset of the last publication, r run id of the server that the
 * epoch was made on, pe and po the epoch before and its last offset that is known here, t when the
 * time to live was last set, v and ve version and its epoch; + and who (node, source): the last of
 * theirs that was kept, as generation:position:offset:when, whether or not the stream still has it.
 * The guard:
 * where r is not the run id of the server that a script runs on (with what tells its reigns as master from each
 * other behind it), what that server knows may lack what
 * another one has acknowledged (a failover, a restart, a restored copy), so a new epoch begins, and
 * whoever recovers is told so. The count and what is kept go on. Errors come before the first write:
 * a script that fails half way is not undone. */
#include "engine_redis_internal.h"

/* Of what is kept, so many bytes in one reply, and what exceeds them: the server ends the connection of a subscriber who
 * has too much to read. Several times what the hub takes of a reply, so that it sees that there is more. */
#define REPLY_BYTES "262144"

/* KEYS: meta, stream. ARGV: 1 run id, 2 an epoch if one is needed, 3 the meta's time to live, ms.
 * Leaves epoch and offset. */
#define META                                                                                       \
    "local m = redis.call('HMGET', KEYS[1], 'e', 'o', 'r', 't', 'v', 've')\n"                      \
    "local kept = redis.call('XLEN', KEYS[2])\n"                                                   \
    "local epoch, offset = m[1], tonumber(m[2] or '0')\n"                                          \
    "if not epoch then\n"                                                                          \
    "  epoch = ARGV[2]\n"                                                                          \
    "  redis.call('DEL', KEYS[2])\n"                                                               \
    "  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 'r', ARGV[1])\n"                          \
    "  redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"                                                  \
    "elseif m[3] ~= ARGV[1] and\n"                                                                 \
    "       string.sub(m[3] or '', 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then\n"                      \
    "  epoch = ARGV[2]\n"                                                                          \
    "  redis.call('HSET', KEYS[1], 'e', epoch, 'r', ARGV[1], 'pe', m[1], 'po', m[2])\n"            \
    "end\n"

/* Appends to what is kept, and notes whose it was; those not heard of for ten minutes are forgotten now and
 * then. ARGV: 4 size, 5 time to live, ms, 6 now, ms: from several machines, so
 * only roughly the same. */
#define KEEP                                                                                       \
    "local last, at = {}, {}\n"                                                                    \
    "local function origin(item)\n"                                                                \
    "  local b, n, g = {string.byte(item, 29, 40)}, 0, 0\n"                                        \
    "  for i = 12, 5, -1 do n = n * 256 + b[i] end\n"                                              \
    "  for i = 4, 1, -1 do g = g * 256 + b[i] end\n"                                               \
    "  return '+' .. string.sub(item, 17, 26), g, n\n"                                             \
    "end\n"                                                                                        \
    "local function last_of(who)\n"                                                                \
    "  local v = redis.call('HGET', KEYS[1], who)\n"                                               \
    "  if not v then return -1, -1 end\n"                                                          \
    "  local g, n, o = string.match(v, '^(%d+):(%d+):(%d+):')\n"                                   \
    "  return tonumber(g), tonumber(n), o\n"                                                       \
    "end\n"                                                                                        \
    "local function forget()\n"                                                                    \
    "  local all = redis.call('HGETALL', KEYS[1])\n"                                               \
    "  for i = 1, #all, 2 do\n"                                                                    \
    "    local at = string.sub(all[i], 1, 1) == '+' and string.match(all[i + 1], ':(%d+)$')\n"     \
    "    if at and tonumber(ARGV[6]) - tonumber(at) > 600000 then\n"                               \
    "      redis.call('HDEL', KEYS[1], all[i])\n"                                                  \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function keep(item)\n"                                                                  \
    "  offset = offset + 1\n"                                                                      \
    "  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], string.format('%.0f-0', offset), 'd', "      \
    "item)\n"                                                                                      \
    "  local who = string.sub(item, 17, 26)\n"                                                     \
    "  last[who], at[who] = item, string.format('%.0f', offset)\n"                                 \
    "end\n"                                                                                        \
    "local function touch()\n"                                                                     \
    "  local set = {'o', string.format('%.0f', offset)}\n"                                         \
    "  for id, item in pairs(last) do\n"                                                           \
    "    local who, g, n = origin(item)\n"                                                         \
    "    local lg, ln = last_of(who)\n"                                                            \
    "    if g > lg or (g == lg and n >= ln) then\n"                                                \
    "      set[#set + 1] = who\n"                                                                  \
    "      set[#set + 1] = string.format('%.0f:%.0f:%s:%s', g, n, at[id], ARGV[6])\n"              \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  redis.call('HSET', KEYS[1], unpack(set))\n"                                                 \
    "  local old = tonumber(m[4] or '0')\n"                                                        \
    "  if math.abs(tonumber(ARGV[6]) - old) * 10 > tonumber(ARGV[5]) then\n"                       \
    "    redis.call('HSET', KEYS[1], 't', ARGV[6])\n"                                              \
    "    forget()\n"                                                                               \
    "    redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"                                                \
    "    redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"                                                \
    "  elseif redis.call('PTTL', KEYS[2]) < 0 then\n"                                              \
    "    redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"                                                \
    "  end\n"                                                                                      \
    "end\n"                                                                                        \
    "local function send(channel, first, items)\n"                                                 \
    "  redis.call('PUBLISH', channel, epoch .. ':' .. string.format('%.0f', first) .. ':' .. "     \
    "items)\n"                                                                                     \
    "end\n"

/* The offset of what was kept from the same place in the same ring before, 0 where only that is known,
 * else nil. What one source publishes to a channel is kept in its order, so what stands before the
 * last of it has been kept, unless that may have overtaken it (ARGV 10 is 2). */
#define BEFORE                                                                                     \
    "local function before(item)\n"                                                                \
    "  local who, g, n = origin(item)\n"                                                           \
    "  local lg, ln, lo = last_of(who)\n"                                                          \
    "  if g == lg and n == ln then return lo end\n"                                                \
    "  local from = string.sub(item, 17, 40)\n"                                                    \
    "  for _, e in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 256)) do\n"          \
    "    if string.sub(e[2][2], 17, 40) == from then\n"                                            \
    "      return string.match(e[1], '^%d+')\n"                                                    \
    "    end\n"                                                                                    \
    "  end\n"                                                                                      \
    "  if ARGV[10] == '1' and (g < lg or (g == lg and n < ln)) then return '0' end\n"              \
    "end\n"

_Static_assert(ENVELOPE_ORIGIN_AT == 16 && ENVELOPE_ORIGIN_BYTES == 24, "KEEP says 17 to 40");

/* KEYS: 1 a channel's members, 2 its users, 3 the channels of the node, 4 the place's nodes. A value (struct
 * redis_member): node 16, generation 8, owner 2, is its leave to be told 1, version 1, bytes of the
 * user 4, user, fields. */
#define MEMBER                                                                                     \
    "local function user_of(v)\n"                                                                  \
    "  return string.sub(v, 33, 32 + (tonumber(string.sub(v, 29, 32), 16) or 0))\n"                \
    "end\n"                                                                                        \
    "local function less(user)\n"                                                                  \
    "  if redis.call('HINCRBY', KEYS[2], user, -1) <= 0 then\n"                                    \
    "    redis.call('HDEL', KEYS[2], user)\n"                                                      \
    "  end\n"                                                                                      \
    "end\n"

const char *const redis_scripts[REDIS_SCRIPT_NR] = {
    /* ARGV: 7 channel, 8 and on: publications. Returns the epoch and the offset of the first. */
    [REDIS_SCRIPT_PUBLISH] = META KEEP "local first = offset + 1\n"
                                       "for i = 8, #ARGV do keep(ARGV[i]) end\n"
                                       "touch()\n"
                                       "send(ARGV[7], first, table.concat(ARGV, '', 8))\n"
                                       "return {epoch, string.format('%.0f', first)}\n",
    /* One publication under conditions. KEYS: 3 what became of the idempotency key. ARGV: 7 channel, 8 the
     * publication, 9 is it kept, 10 may it have been done: 0, 1, or 2: what came behind it maybe before
     * it, 11 time to live of the key, ms, 0: none, 12 version, 0: none, 13 its epoch. Returns the
     * status, epoch, offset. */
    [REDIS_SCRIPT_PUBLISH_IF] =
        "if ARGV[11] ~= '0' then\n"
        "  local known = redis.call('HMGET', KEYS[3], 'e', 'o')\n"
        "  if known[1] then return {'duplicate', known[1], known[2]} end\n"
        "end\n"
        "local function remember(e, o)\n"
        "  if ARGV[11] ~= '0' then\n"
        "    redis.call('HSET', KEYS[3], 'e', e, 'o', o)\n"
        "    redis.call('PEXPIRE', KEYS[3], ARGV[11])\n"
        "  end\n"
        "end\n"
        "if ARGV[9] == '0' then\n"
        "  redis.call('PUBLISH', ARGV[7], '0:0:' .. ARGV[8])\n"
        "  remember('0', '0')\n"
        "  return {'ok', '0', '0'}\n"
        "end\n" META KEEP BEFORE "local was = ARGV[10] ~= '0' and before(ARGV[8])\n"
        "if was and was ~= '0' then return {'known', epoch, was} end\n"
        "if ARGV[12] ~= '0' and m[5] and (ARGV[13] == '' or ARGV[13] == m[6]) and\n"
        "   (#m[5] > #ARGV[12] or (#m[5] == #ARGV[12] and m[5] >= ARGV[12])) then\n"
        "  return {'suppressed', epoch, string.format('%.0f', offset)}\n"
        "end\n"
        "if was then return {'known', '0', '0'} end\n"
        "keep(ARGV[8])\n"
        "touch()\n"
        "local o = string.format('%.0f', offset)\n"
        "if ARGV[12] ~= '0' then redis.call('HSET', KEYS[1], 'v', ARGV[12], 've', ARGV[13]) end\n"
        "send(ARGV[7], offset, ARGV[8])\n"
        "remember(epoch, o)\n"
        "return {'ok', epoch, o}\n",
    /* ARGV: 4 limit, 5 reverse, 6 the first offset, 7 the last, as XRANGE takes them. Returns epoch,
     * offset of the newest, entries, the epoch before and its last offset. */
    [REDIS_SCRIPT_HISTORY] =
        META "local list = {}\n"
             "if ARGV[4] ~= '0' then\n"
             "  if ARGV[5] == '1' then\n"
             "    list = redis.call('XREVRANGE', KEYS[2], ARGV[7], ARGV[6], 'COUNT', ARGV[4])\n"
             "  else\n"
             "    list = redis.call('XRANGE', KEYS[2], ARGV[6], ARGV[7], 'COUNT', ARGV[4])\n"
             "  end\n"
             "end\n"
             "local bytes = 0\n"
             "for i = 1, #list do\n"
             "  bytes = bytes + #list[i][2][2]\n"
             "  if bytes > " REPLY_BYTES " then\n"
             "    for k = #list, i + 1, -1 do list[k] = nil end\n"
             "    break\n"
             "  end\n"
             "end\n"
             "local was = redis.call('HMGET', KEYS[1], 'pe', 'po')\n"
             "return {epoch, string.format('%.0f', offset), list, was[1] or '0', was[2] or '0'}\n",
    [REDIS_SCRIPT_REMOVE] = META "redis.call('DEL', KEYS[2])\n"
                                 "return {epoch, string.format('%.0f', offset)}\n",
    /* KEYS: log. ARGV: 1 channel, 2 the message. */
    /* KEYS: the user. ARGV: 1 node, 2 its count, 3 limit of all, 0: none, 4 now, ms, 5 time to live, ms, 6
     * and on: nodes that live; none: all do. Returns ok or refused. */
    [REDIS_SCRIPT_USER] = "local now, sum, alive = tonumber(ARGV[4]), tonumber(ARGV[2]), {}\n"
                          "for i = 6, #ARGV do alive[ARGV[i]] = true end\n"
                          "if ARGV[3] ~= '0' then\n"
                          "  local all = redis.call('HGETALL', KEYS[1])\n"
                          "  for i = 1, #all, 2 do\n"
                          "    local count, till = string.match(all[i + 1], '^(%d+):(%d+)$')\n"
                          "    if count and all[i] ~= ARGV[1] and tonumber(till) > now and\n"
                          "       (#ARGV < 6 or alive[all[i]]) then\n"
                          "      sum = sum + tonumber(count)\n"
                          "    end\n"
                          "  end\n"
                          "  if sum > tonumber(ARGV[3]) then return 'refused' end\n"
                          "end\n"
                          "if ARGV[2] == '0' then\n"
                          "  redis.call('HDEL', KEYS[1], ARGV[1])\n"
                          "else\n"
                          "  redis.call('HSET', KEYS[1], ARGV[1],\n"
                          "    ARGV[2] .. ':' .. string.format('%.0f', now + tonumber(ARGV[5])))\n"
                          "  redis.call('PEXPIRE', KEYS[1], ARGV[5])\n"
                          "end\n"
                          "return 'ok'\n",
    [REDIS_SCRIPT_CONTROL] =
        "local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', '10000', '*', 'd', ARGV[2])\n"
        "redis.call('PEXPIRE', KEYS[1], 300000)\n"
        "redis.call('PUBLISH', ARGV[1], id .. ':' .. ARGV[2])\n"
        "return id\n",
    /* KEYS: 1 to 4. ARGV: 1 node, 2 the channel, 3 where to publish, 4 + or - to the channels of the node, 5
     * time to live of the first two keys, 6 of the others, ms; then for each change 6: s(et), c(lear)
     * or n(othing), client, user, value, told: 1, only if it changes something: 0, not: n, and what
     * to tell. Members whose client id has come with another node are that one's. Returns a digit for each
     * change, was it told, and with + whether there is a member. */
    [REDIS_SCRIPT_MEMBERS] =
        MEMBER "local told = {}\n"
               "for i = 7, #ARGV, 6 do\n"
               "  local client, changed = ARGV[i + 1], false\n"
               "  local old = redis.call('HGET', KEYS[1], client)\n"
               "  if ARGV[i] == 's' then\n"
               "    changed = not old\n"
               "    if old ~= ARGV[i + 3] then\n"
               "      redis.call('HSET', KEYS[1], client, ARGV[i + 3])\n"
               "      if not old then\n"
               "        redis.call('HINCRBY', KEYS[2], ARGV[i + 2], 1)\n"
               "      elseif user_of(old) ~= ARGV[i + 2] then\n"
               "        less(user_of(old))\n"
               "        redis.call('HINCRBY', KEYS[2], ARGV[i + 2], 1)\n"
               "      end\n"
               "    end\n"
               "  elseif ARGV[i] == 'c' and old and string.sub(old, 1, 16) == ARGV[1] then\n"
               "    redis.call('HDEL', KEYS[1], client)\n"
               "    less(user_of(old))\n"
               "    changed = true\n"
               "  end\n"
               "  local tell = ARGV[i + 4] == '1' or (ARGV[i + 4] == '0' and changed)\n"
               "  if tell then redis.call('PUBLISH', ARGV[3], '0:0:' .. ARGV[i + 5]) end\n"
               "  told[#told + 1] = tell and '1' or '0'\n"
               "end\n"
               "local there = 0\n"
               "if ARGV[4] == '+' then\n"
               "  there = redis.call('PEXPIRE', KEYS[1], ARGV[5])\n"
               "  redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"
               "  redis.call('SADD', KEYS[3], ARGV[2])\n"
               "  redis.call('SADD', KEYS[4], ARGV[1])\n"
               "  redis.call('PEXPIRE', KEYS[3], ARGV[6])\n"
               "  redis.call('PEXPIRE', KEYS[4], ARGV[6])\n"
               "elseif ARGV[4] == '-' then\n"
               "  redis.call('SREM', KEYS[3], ARGV[2])\n"
               "end\n"
               "return {table.concat(told), there}\n",
    /* KEYS: 1, 2. */
    [REDIS_SCRIPT_COUNT] = "return {redis.call('HLEN', KEYS[1]), redis.call('HLEN', KEYS[2])}\n",
    /* Removes some of a node's members. KEYS: 1 to 3. ARGV: 1 node, 2 the generation that stays ('': none
     * does), 3 of these owners, 4 cursor, 5 how many to look at, 6 the channel, 7 where to publish, 8
     * are these all that the node has there. Returns the next cursor, how many it has removed. */
    [REDIS_SCRIPT_SWEEP] =
        MEMBER "local n, r = 0, redis.call('HSCAN', KEYS[1], ARGV[4], 'COUNT', ARGV[5])\n"
               "for i = 1, #r[2], 2 do\n"
               "  local v = r[2][i + 1]\n"
               "  if string.sub(v, 1, 16) == ARGV[1] and (ARGV[2] == '' or\n"
               "     (string.sub(v, 17, 24) ~= ARGV[2] and\n"
               "      string.find(ARGV[3], string.sub(v, 25, 26) .. ',', 1, true))) then\n"
               "    redis.call('HDEL', KEYS[1], r[2][i])\n"
               "    less(user_of(v))\n"
               "    n = n + 1\n"
               "    if string.sub(v, 27, 27) == '1' then\n"
               "      redis.call('PUBLISH', ARGV[7], 'gone:' .. v)\n"
               "    end\n"
               "  end\n"
               "end\n"
               "if r[1] == '0' and ARGV[8] == '1' then redis.call('SREM', KEYS[3], ARGV[6]) end\n"
               "return {r[1], n}\n",
    /* KEYS: 3, 4 (as 1, 2). ARGV: 1 node, 2 also if it has channels. Returns whether it is removed. */
    [REDIS_SCRIPT_DISOWN] =
        "if ARGV[2] == '0' and redis.call('SCARD', KEYS[1]) > 0 then return 0 end\n"
        "redis.call('SREM', KEYS[2], ARGV[1])\n"
        "return 1\n",
};
