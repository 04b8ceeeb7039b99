/* adapter_raw.c - the path names the channel, each frame is a message. */
#include "adapter.h"

static enum adapter_event raw_receive(struct str *rest, struct str *payload,
                                      struct buf *reply UNUSED)
{
    *payload = *rest;
    *rest = STR_NULL;
    return ADAPTER_MESSAGE;
}

const struct adapter adapter_raw = {
    .name = "raw",
    .default_path = "/ws/{channel}",
    .subprotocol = "",
    .ready_at_upgrade = true,
    .receive = raw_receive,
};

const struct adapter *adapter_find(struct str name)
{
    static const struct adapter *const all[] = {&adapter_raw, &adapter_centrifuge, &adapter_mqtt,
                                                &adapter_nats};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (str_equal(name, str_from(all[i]->name)))
            return all[i];
    return NULL;
}
