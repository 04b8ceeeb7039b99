/* adapter_mqtt.c - MQTT 3.1.1 over WebSocket, QoS 0, in binary frames.
 *
 * Packets are a stream: a frame may hold several, or a part of one (MQTT-6.0.0-2). Keep-alive is 0,
 * so no PINGREQ is due; publications of QoS 1 and 2 are refused, as they were not asked for. */
#include "adapter.h"

#define MQTT_PACKET_MAX ((size_t)64 << 20)

enum mqtt_type { /* of a packet: the first byte's upper half */
                 MQTT_CONNECT = 1,
                 MQTT_CONNACK = 2,
                 MQTT_PUBLISH = 3,
                 MQTT_SUBSCRIBE = 8,
                 MQTT_SUBACK = 9,
                 MQTT_PINGRESP = 13
};

/* The fixed header (§2.2): type, flags, length of the rest in groups of 7 bits. */
static int put_header(struct buf *out, enum mqtt_type type, unsigned flags, size_t n)
{
    if (n > MQTT_PACKET_MAX || buf_append_char(out, (char)((unsigned)type << 4 | flags)) == -1)
        return -1;
    for (; n >= 0x80; n >>= 7)
        if (buf_append_char(out, (char)(0x80 | (n & 0x7f))) == -1)
            return -1;
    return buf_append_char(out, (char)n);
}

static int put_u16(struct buf *out, size_t n)
{
    if (n > UINT16_MAX || buf_append_char(out, (char)(n >> 8)) == -1)
        return -1;
    return buf_append_char(out, (char)(n & 0xff));
}

static int put_string(struct buf *out, struct str s)
{
    return put_u16(out, s.n) == -1 ? -1 : buf_append(out, s);
}

/* CONNECT with a clean session and no client identifier (the server makes one up), and SUBSCRIBE
 * without waiting for CONNACK, which §3.1.4 permits. */
static int mqtt_hello(const struct adapter_user *u UNUSED, struct str channel, struct buf *out)
{
    static const char variable[] = {4, 2, 0, 0, 0, 0}; /* level, flags, keep-alive, identifier */

    if (put_header(out, MQTT_CONNECT, 0, 12) == -1 || put_string(out, STR_LIT("MQTT")) == -1 ||
        buf_append(out, (struct str){variable, sizeof(variable)}) == -1 ||
        put_header(out, MQTT_SUBSCRIBE, 2, 2 + 2 + channel.n + 1) == -1 || put_u16(out, 1) == -1 ||
        put_string(out, channel) == -1)
        return -1;
    return buf_append_char(out, 0);
}

static int mqtt_publish(const struct adapter_user *u UNUSED, struct str channel, struct str payload,
                        struct buf *out)
{
    if (put_header(out, MQTT_PUBLISH, 0, 2 + channel.n + payload.n) == -1 ||
        put_string(out, channel) == -1)
        return -1;
    return buf_append(out, payload);
}

/* Cuts one packet's body off *rest. 0: its end has not come yet; -1: its length is malformed. */
static int cut_packet(struct str *rest, uint8_t *first, struct str *body)
{
    size_t n = 0, at = 1;
    uint8_t byte;

    do {
        if (at > 4)
            return -1;
        if (at >= rest->n)
            return 0;
        byte = (uint8_t)rest->p[at];
        n |= (size_t)(byte & 0x7f) << (7 * (at - 1));
        at++;
    } while (byte & 0x80);
    if (n > MQTT_PACKET_MAX)
        return -1;
    if (rest->n - at < n)
        return 0;
    *first = (uint8_t)rest->p[0];
    *body = (struct str){rest->p + at, n};
    *rest = rest->n - at == n ? STR_NULL : str_skip(*rest, at + n);
    return 1;
}

static enum adapter_event mqtt_message(uint8_t first, struct str body, struct str *payload)
{
    size_t topic;

    if ((first & 0x06) != 0 || body.n < 2) /* QoS */
        return ADAPTER_REFUSED;
    topic = (size_t)(uint8_t)body.p[0] << 8 | (uint8_t)body.p[1];
    if (body.n - 2 < topic)
        return ADAPTER_REFUSED;
    *payload = str_skip(body, 2 + topic);
    return ADAPTER_MESSAGE;
}

static enum adapter_event mqtt_receive(struct adapter_user *u UNUSED, struct str *rest,
                                       struct str *payload, struct buf *reply UNUSED)
{
    struct str body;
    uint8_t first;
    int rc;

    if (rest->n == 0) {
        *rest = STR_NULL;
        return ADAPTER_NOTHING;
    }
    rc = cut_packet(rest, &first, &body);
    if (rc <= 0)
        return rc == 0 ? ADAPTER_MORE : ADAPTER_REFUSED;
    switch (first >> 4) {
    case MQTT_CONNACK: /* §3.2.2.3: 0 is accepted */
        return body.n == 2 && body.p[1] == 0 ? ADAPTER_NOTHING : ADAPTER_REFUSED;
    case MQTT_SUBACK: /* §3.9.3: the granted QoS of the one filter */
        return body.n == 3 && body.p[2] == 0 ? ADAPTER_READY : ADAPTER_REFUSED;
    case MQTT_PUBLISH:
        return mqtt_message(first, body, payload);
    case MQTT_PINGRESP:
        return ADAPTER_NOTHING;
    default:
        return ADAPTER_REFUSED;
    }
}

const struct adapter adapter_mqtt = {
    .name = "mqtt",
    .default_path = "/mqtt",
    .subprotocol = "mqtt",
    .binary = true,
    .stream = true,
    .ready_at_upgrade = false,
    .hello = mqtt_hello,
    .receive = mqtt_receive,
    .publish = mqtt_publish,
};
