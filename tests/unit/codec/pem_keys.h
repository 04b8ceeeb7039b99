/* pem_keys.h - public keys in PEM, made for test_jwks.c. The private key is nobody's. */
#ifndef ROOST_TESTS_PEM_KEYS_H
#define ROOST_TESTS_PEM_KEYS_H

#define PEM_RSA                                                                                    \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAje0Oo0hkd3vMIqkeMkJs\n"                           \
    "HK8X1VOY8U1CfktPNMXtbFYGjWKeX5WnfSmcb4b5yAQqhlcxQiQn4JHUmUsG1hZO\n"                           \
    "ArjqCdG76d+K+dFlgeIi6Q0GtnNKvjdw+NrQNQzS7GN60TTPNuehohLkE4zVmjnB\n"                           \
    "jKMHnXiij4nvX1jaQaKqAr7TiHh9GEIVZqvw2IbK9dkVL3az6StStsUwNFnaTk4/\n"                           \
    "bftosC3II/N80yf2is8qtqSEwtxG+n9iSQ9r2ymwQQlm+F04Sznu5Vv25yjriiaG\n"                           \
    "+iYs1WZ0mcLli/A0w1fnkpkd+3C0Kone89nxqniwJtZkX329HCgJbKDgQzQUl6uy\n"                           \
    "yQIDAQAB\n"                                                                                   \
    "-----END PUBLIC KEY-----\n"

#define PEM_RSA_PKCS1                                                                              \
    "-----BEGIN RSA PUBLIC KEY-----\n"                                                             \
    "MIIBCgKCAQEAje0Oo0hkd3vMIqkeMkJsHK8X1VOY8U1CfktPNMXtbFYGjWKeX5Wn\n"                           \
    "fSmcb4b5yAQqhlcxQiQn4JHUmUsG1hZOArjqCdG76d+K+dFlgeIi6Q0GtnNKvjdw\n"                           \
    "+NrQNQzS7GN60TTPNuehohLkE4zVmjnBjKMHnXiij4nvX1jaQaKqAr7TiHh9GEIV\n"                           \
    "Zqvw2IbK9dkVL3az6StStsUwNFnaTk4/bftosC3II/N80yf2is8qtqSEwtxG+n9i\n"                           \
    "SQ9r2ymwQQlm+F04Sznu5Vv25yjriiaG+iYs1WZ0mcLli/A0w1fnkpkd+3C0Kone\n"                           \
    "89nxqniwJtZkX329HCgJbKDgQzQUl6uyyQIDAQAB\n"                                                   \
    "-----END RSA PUBLIC KEY-----\n"

#define PEM_CERT                                                                                   \
    "-----BEGIN CERTIFICATE-----\n"                                                                \
    "MIIDAzCCAeugAwIBAgIUDLVb++uZhG7IcQS4ya1GfaIQ3bEwDQYJKoZIhvcNAQEL\n"                           \
    "BQAwEDEOMAwGA1UEAwwFcm9vc3QwIBcNMjYxMTI2MTYxNzQxWhgPMjEyNjExMDIx\n"                           \
    "NjE3NDFaMBAxDjAMBgNVBAMMBXJvb3N0MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n"                           \
    "MIIBCgKCAQEAje0Oo0hkd3vMIqkeMkJsHK8X1VOY8U1CfktPNMXtbFYGjWKeX5Wn\n"                           \
    "fSmcb4b5yAQqhlcxQiQn4JHUmUsG1hZOArjqCdG76d+K+dFlgeIi6Q0GtnNKvjdw\n"                           \
    "+NrQNQzS7GN60TTPNuehohLkE4zVmjnBjKMHnXiij4nvX1jaQaKqAr7TiHh9GEIV\n"                           \
    "Zqvw2IbK9dkVL3az6StStsUwNFnaTk4/bftosC3II/N80yf2is8qtqSEwtxG+n9i\n"                           \
    "SQ9r2ymwQQlm+F04Sznu5Vv25yjriiaG+iYs1WZ0mcLli/A0w1fnkpkd+3C0Kone\n"                           \
    "89nxqniwJtZkX329HCgJbKDgQzQUl6uyyQIDAQABo1MwUTAdBgNVHQ4EFgQU/t5T\n"                           \
    "oNqEFlfUA2wqm2i/eu6Scz0wHwYDVR0jBBgwFoAU/t5ToNqEFlfUA2wqm2i/eu6S\n"                           \
    "cz0wDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOCAQEAD/nWX9rI/E+j\n"                           \
    "ruDkI1BVAe3bksJeoguosuRebnwe5qy9wEnRCCsedOsohE/SZfAA3h3LLKXwN9g5\n"                           \
    "KV78/+7/JiYDhkjv8EGoEipNmANTyujiRH68Sh4jc2JAloY++Yvh/EvReponeC7q\n"                           \
    "1DYklie5QPTaRcWaxrrWiH/slgaT5CKePE6/JMmz7KGUwr/jWsI0zqmJR5EL9Jpv\n"                           \
    "y7Vn3slSuHVjHsBcOFtAYZ2Lem/w9qCY43uCtMik7VC0S3MbLytA8TQpmVi3ZQ40\n"                           \
    "CUDBT9agtRQsfe02UYe0RJJ1p4F+FV8cP6KtgQs1JIUl35WQd58vZf33TrbcJyvN\n"                           \
    "HUe/PsGkgg==\n"                                                                               \
    "-----END CERTIFICATE-----\n"

#define PEM_RSA_1024                                                                               \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDW3nCYDp2WgopzrvU2CMHBPjHH\n"                           \
    "uU6USzrZTZMwjjrriHFvyYx+0ORD9OmKhasnRMUSnOYHxHs8iUtsJnTrTcbK+QQW\n"                           \
    "6dQTIsk3lggqWi4TG/iNC9f6PUZ9ctBveJnb1FZ7gvHqFDQlEuNf/U/Ttwpi+/vZ\n"                           \
    "vIX5FStfqwJh/lyOcQIDAQAB\n"                                                                   \
    "-----END PUBLIC KEY-----\n"

#define PEM_EC                                                                                     \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE7QJvGLabcMmC9QTueEqoJQizUEA7\n"                           \
    "WluCW6mhjPa4FKnmxvYxe7SyliZlRODTk8oA7yvZcqY2R1t8otczKUKsvg==\n"                               \
    "-----END PUBLIC KEY-----\n"

#define PEM_EC_K1                                                                                  \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEp+kMYn527H2V/ApLOTd4Dn7EDMwPLsEb\n"                           \
    "cIfq+pJdROzkn/nQhZhJabmM0WStGn1Tzpk6qJ7u9wYm1wikxppnHA==\n"                                   \
    "-----END PUBLIC KEY-----\n"

#define PEM_ED25519                                                                                \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MCowBQYDK2VwAyEAzx+U3Rs/rUkUbqihnbIdrCHeDD9NAb3O557EoJUnwGI=\n"                               \
    "-----END PUBLIC KEY-----\n"

#define PEM_X25519                                                                                 \
    "-----BEGIN PUBLIC KEY-----\n"                                                                 \
    "MCowBQYDK2VuAyEArR2Na9EONTcf3YEnyKFNIia4bwBYdVbsDnQbR5NFpTs=\n"                               \
    "-----END PUBLIC KEY-----\n"

#define PEM_PRIVATE                                                                                \
    "-----BEGIN PRIVATE KEY-----\n"                                                                \
    "MC4CAQAwBQYDK2VwBCIEIKsGPtfTFZvrkL44fkclKjVdPtNYAKy0ZIDbV/PAqbfG\n"                           \
    "-----END PRIVATE KEY-----\n"

#endif
