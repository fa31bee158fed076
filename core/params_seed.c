/* Fresh parameters as the originals draw them: the distributions of params_table.c, each tensor from a counter-based
 * stream named by the tensor, in the layout of the file; folded afterwards. */
#include <math.h>

#include "core/params_table.h"
#include "core/rng.h"

typedef struct seeder {
    const mb_config *c;
    mb_params *p;
    size_t pool_floats;
    uint64_t seed;
} seeder;

/* FNV-1a, 64 bits. */
static uint64_t stream_of(const char *name) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

/* b with softplus(b) = dt, dt log-uniform in [dt_min, dt_max] and at least dt_floor: b = dt + ln(1 - exp(-dt)). */
static float dt_bias(mb_rng *r, const mb_init *init) {
    const double low = log((double)init->dt_min), high = log((double)init->dt_max);
    double dt = exp(low + mb_rng_uniform(r) * (high - low));
    dt = dt > (double)init->dt_floor ? dt : (double)init->dt_floor;
    return (float)(dt + log(-expm1(-dt)));
}

static void fill(float *v, const mb_param *p, const mb_init *init, mb_rng *r) {
    const int64_t columns = p->shape[p->ndim - 1];
    for (int64_t i = 0; i < p->count; i++)
        switch (p->fill) {
        case MB_FILL_ZERO:
            v[i] = 0;
            break;
        case MB_FILL_ONE:
            v[i] = 1;
            break;
        case MB_FILL_CONSTANT:
            v[i] = (float)p->scale;
            break;
        case MB_FILL_UNIFORM:
            v[i] = (float)((2 * mb_rng_uniform(r) - 1) * p->scale);
            break;
        case MB_FILL_NORMAL:
            v[i] = (float)(mb_rng_normal(r) * p->scale);
            break;
        case MB_FILL_A_LOG:
            v[i] = (float)log((double)(i % columns + 1));
            break;
        case MB_FILL_DT_BIAS:
            v[i] = dt_bias(r, init);
            break;
        }
}

static int measure(void *user, const mb_param *p) {
    seeder *s = user;
    if (p->alias_of < 0)
        s->pool_floats += mb_params_room(p->count);
    return MB_OK;
}

static int draw(void *user, const mb_param *p) {
    seeder *s = user;
    if (p->alias_of >= 0) {
        *mb_param_place(s->p, p) = *mb_param_origin(s->p, p);
        return MB_OK;
    }
    const mb_init init = mb_config_init(s->c);
    mb_rng r;
    float *v = mb_params_take(s->p, p->count);
    mb_rng_init(&r, s->seed, stream_of(p->name));
    fill(v, p, &init, &r);
    mb_param_turn(p, v);
    *mb_param_place(s->p, p) = v;
    s->p->count += p->count;
    return MB_OK;
}

int mb_params_seed(mb_params **out, const mb_config *c, uint64_t seed, mb_err *e) {
    seeder s = {.c = c, .seed = seed};
    *out = NULL;
    int rc = mb_config_check(c, "configuration", e);
    if (rc == MB_OK)
        rc = mb_params_walk(c, measure, &s);
    if (rc == MB_OK)
        rc = mb_params_create(&s.p, c, s.pool_floats, e);
    if (rc == MB_OK)
        rc = mb_params_walk(c, draw, &s);
    if (rc == MB_OK)
        *out = s.p;
    return rc;
}
