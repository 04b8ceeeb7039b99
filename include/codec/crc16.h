/* codec/crc16.h - CRC16/XMODEM, by which Redis Cluster spreads keys over its slots. */
#ifndef ROOST_CODEC_CRC16_H
#define ROOST_CODEC_CRC16_H

#include "base/str.h"

uint16_t crc16(struct str s);

#endif
