/* adapter_raw.c - the path names the channel, each frame is a message. */
#include "adapter.h"

static enum adapter_event raw_receive(struct adapter_user *u UNUSED, struct str *rest,
                                      struct str *payload, struct buf *reply UNUSED)
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

static const struct adapter *const adapters[] = {&adapter_raw, &adapter_centrifuge_json,
                                                 &adapter_centrifuge_protobuf, &adapter_mqtt,
                                                 &adapter_nats};

const struct adapter *adapter_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(adapters); i++)
        if (str_equal(name, str_from(adapters[i]->name)))
            return adapters[i];
    return NULL;
}

const struct adapter *adapter_of(const struct options *o)
{
    const struct adapter *a = adapter_find(str_from(o->adapter));

    for (size_t i = 0; i < ARRAY_LEN(adapters); i++)
        if (strcmp(adapters[i]->name, a->name) == 0 && adapters[i]->protocol == o->protocol)
            return adapters[i];
    return a;
}
