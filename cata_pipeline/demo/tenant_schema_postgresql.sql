-- A reference for the neighbour service's tenant tables, for the demo and the tests only:
-- production tables belong to that service, and a contract check reads their real columns.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE TABLE items (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_code          varchar(255) NOT NULL UNIQUE,
    original_name      varchar(255),
    name               varchar(255),
    description        text,
    category           varchar(255),
    item_type          varchar(64),
    variant_group      varchar(255),
    variant_options    jsonb,
    visible            boolean NOT NULL DEFAULT true,
    base_price         numeric(14, 2),
    external_image_url text,
    main_image_url     text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE item_modifiers (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_id       bigint NOT NULL REFERENCES items (id),
    modifier_code varchar(255) NOT NULL,
    original_name varchar(255),
    name          varchar(255),
    position      integer NOT NULL DEFAULT 0,
    visible       boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (item_id, modifier_code)
);

CREATE TABLE item_modifier_options (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_modifier_id bigint NOT NULL REFERENCES item_modifiers (id),
    option_code      varchar(255) NOT NULL,
    original_name    varchar(255),
    name             varchar(255),
    price            numeric(14, 2),
    position         integer NOT NULL DEFAULT 0,
    visible          boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (item_modifier_id, option_code)
);

-- A component is told from its equals by its slot, its code and which of those equals it is (from 1),
-- so that a reordered bundle moves rows instead of renaming them.
CREATE TABLE item_bundle_components (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_id             bigint NOT NULL REFERENCES items (id),
    slot                varchar(255) NOT NULL,
    component_item_code varchar(255) NOT NULL,
    occurrence          integer NOT NULL,
    original_name       varchar(255),
    name                varchar(255),
    quantity            numeric(14, 4) NOT NULL DEFAULT 1,
    position            integer NOT NULL DEFAULT 0,
    visible             boolean NOT NULL DEFAULT true,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (item_id, slot, component_item_code, occurrence)
);

-- Cata's own: what customers see and pay. The pipeline never touches it.
CREATE TABLE menu_items (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_id bigint NOT NULL REFERENCES items (id),
    price   numeric(14, 2) NOT NULL
);

CREATE TRIGGER items_touch BEFORE UPDATE ON items
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER item_modifiers_touch BEFORE UPDATE ON item_modifiers
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER item_modifier_options_touch BEFORE UPDATE ON item_modifier_options
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER item_bundle_components_touch BEFORE UPDATE ON item_bundle_components
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
