-- The product's third query after a migration: integrations that no campaign's data_sources names. Listed, not failed.
-- The product's own raises on a value that is no array and on an id that is no uuid; the model behind this one does not.
with orphaned_integrations as (
    select * from {{ ref('orphaned_integrations') }}
)

select * from orphaned_integrations
order by provider, integration_name, integration_id
