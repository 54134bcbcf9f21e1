"use strict";
// validatorUrl null: the default sends the API's description to a server of Swagger's makers.
SwaggerUIBundle({
  url: "/schema/openapi.json",
  dom_id: "#swagger",
  validatorUrl: null,
  deepLinking: true,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
});
